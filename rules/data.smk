"""Data: the embedded dataset, BCCD, and the check of any dataset before it is used."""


rule draw_cells:
    output:
        annotations="resources/cells/{subset}/_annotations.coco.json",
        pristine="resources/cells/{subset}/images.sha256",
    log:
        "resources/logs/cells_{subset}.log",
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        **code_of("draw_cells"),
    message:
        "Drawing the embedded dataset: {wildcards.subset}"
    script:
        "../scripts/draw_cells.py"


rule download_bccd:
    input:
        manifest=ROOT / "config/bccd.csv",
    output:
        archive="resources/bccd/archive.zip",
    log:
        "resources/logs/bccd_download.log",
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        **code_of("download_bccd"),
        url=SETTINGS[""]["bccd_url"],
    message:
        "Downloading BCCD from {params.url}"
    script:
        "../scripts/download_bccd.py"


rule convert_bccd:
    input:
        archive="resources/bccd/archive.zip",
        manifest=ROOT / "config/bccd.csv",
    output:
        annotations="resources/bccd/{subset}/_annotations.coco.json",
        pristine="resources/bccd/{subset}/images.sha256",
    log:
        "resources/logs/bccd_{subset}.log",
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        **code_of("convert_bccd"),
    message:
        "Converting the {wildcards.subset} subset of BCCD"
    script:
        "../scripts/convert_bccd.py"


rule prepare_dataset:
    input:
        unpack(
            lambda wildcards: (
                {}
                if wildcards.split == "train"
                else {"train": f"{wildcards.run}/dataset/train.json"}
            )
        ),
        annotations=lambda wildcards: source_of(wildcards)[0],
    output:
        "{run}/dataset/{split}.json",
    log:
        "{run}/logs/dataset_{split}.log",
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        **code_of("prepare_dataset"),
        image_root=lambda wildcards: str(source_of(wildcards)[1]),
        images=lambda wildcards: changed_images(source_of(wildcards)[1]),
        stand_in=lambda wildcards: wildcards.split == "test" and lacks_test(wildcards),
    message:
        "Checking the {wildcards.split} subset for {wildcards.run}"
    script:
        "../scripts/prepare_dataset.py"
