"""Data: the embedded dataset, BCCD, and the check of any dataset before it is used."""


# Small, or in need of the internet, which the nodes of a cluster often lack.
localrules:
    draw_cells,
    download_bccd,
    convert_bccd,


rule draw_cells:
    output:
        annotations=local("resources/cells/{subset}/_annotations.coco.json"),
        pristine=local("resources/cells/{subset}/images.sha256"),
    log:
        "resources/logs/cells_{subset}.log",
    conda:
        "../envs/data.yaml"
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
        manifest=local(ROOT / "rules/bccd.csv"),
    output:
        archive=local("resources/bccd/archive.zip"),
    log:
        "resources/logs/bccd_download.log",
    conda:
        "../envs/data.yaml"
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
        archive=local("resources/bccd/archive.zip"),
        manifest=local(ROOT / "rules/bccd.csv"),
    output:
        annotations=local("resources/bccd/{subset}/_annotations.coco.json"),
        pristine=local("resources/bccd/{subset}/images.sha256"),
    log:
        "resources/logs/bccd_{subset}.log",
    conda:
        "../envs/data.yaml"
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
        annotations=lambda wildcards: local(source_of(wildcards)[0]),
    output:
        "{run}/dataset/{split}.json",
    log:
        "{run}/logs/dataset_{split}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
        slurm_partition=partition(),
    params:
        **code_of("prepare_dataset"),
        image_root=lambda wildcards: str(source_of(wildcards)[1]),
        images=lambda wildcards: changed_images(source_of(wildcards)[1]),
        stand_in=lambda wildcards: wildcards.split == "test" and lacks_test(wildcards),
    message:
        "Checking the {wildcards.split} subset for {wildcards.run}"
    script:
        "../scripts/prepare_dataset.py"
