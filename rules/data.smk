"""Data: the embedded datasets, BCCD, the check of any dataset before it is used, and its tiles."""

from detmake.artifacts import sha256


@cache
def sources_of(run):
    """Return where the images of each subset of a run's data are, and their annotations."""
    check_paths()
    return checked(sources.locate, SETTINGS[run]["data"], is_made)


def source_of(wildcards):
    """Return where the images of one subset are, and their annotations."""
    return sources_of(run_of(wildcards))[wildcards.split]


def lacks_test(wildcards):
    """Return whether the data has no test subset, so that val is used in its place."""
    sources = sources_of(run_of(wildcards))
    return sources["test"] == sources["val"]


def compared_subsets(wildcards):
    """Return the subsets that one is compared with: their classes, and images that both have."""
    names = {"train": [], "val": ["train"], "test": ["train", "val"]}[wildcards.split]
    if wildcards.split == "test" and lacks_test(wildcards):
        names = ["train"]
    return {name: f"{wildcards.run}/dataset/{name}.json" for name in names}


def on_leak(wildcards, input):
    """A parameter that makes nothing stale: what to do about a subset that is part of another one."""
    data = settings_of(wildcards)["data"]
    return data.get("on_leak", "fail") if isinstance(data, dict) else "fail"


def made_images(wildcards):
    """Return an input that stands for the images that a rule makes: their folder, or their digest."""
    source = source_of(wildcards)
    digests = source.root / image_digests.GENERATED_DIGESTS
    if is_made(source.root):
        return {"images": local(str(source.root))}
    return {"digests": local(str(digests))} if is_made(source.annotations, digests) else {}


@cache
def changed_images(source):
    """A parameter: the state of images and label files, which are not among the rule's input files.

    It is None if a rule makes the images: it would differ before and after that rule. A rule that
    writes annotations into the image folder is taken to make the images, too. The rules of this
    workflow also record the images' digest, so that images that a user changes count.
    """
    annotations, folder = source.annotations, source.root
    recorded = is_made(annotations, folder / image_digests.GENERATED_DIGESTS)
    if is_made(folder) or (annotations.parent == folder and is_made(annotations) and not recorded):
        return None
    digest = checked(image_digests.changed_images, source, DIGESTS)
    return digest and f"images in {folder}: {digest[:16]}"


# No input: while the clone stays and the folder of the experiment moves, its path changes.
BCCD_FILES = ROOT / "rules/bccd.csv"


def bccd_files(wildcards, input):
    """A parameter that makes nothing stale: where the list of BCCD's files is."""
    return str(BCCD_FILES)


# The rules that run on this machine are brief, or need the internet, which the nodes of a cluster often
# lack.
rule draw_cells:
    output:
        annotations=local("resources/{drawn}/{subset}/_annotations.coco.json"),
        digests=local("resources/{drawn}/{subset}/images.sha256"),
    log:
        "resources/logs/{drawn}_{subset}.log",
    wildcard_constraints:
        drawn="cells|slides",
        subset="train|valid|test",
    localrule: True
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        **code_of("draw_cells", "data"),
    message:
        "Drawing the embedded dataset {wildcards.drawn}: {wildcards.subset}"
    script:
        "../scripts/draw_cells.py"


rule download_bccd:
    output:
        archive=local("resources/bccd/archive.zip"),
    log:
        "resources/logs/bccd_download.log",
    localrule: True
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        **code_of("download_bccd", "data"),
        manifest=bccd_files,
        url=SETTINGS[""]["bccd_url"],
    message:
        "Downloading BCCD from {params.url}"
    script:
        "../scripts/download_bccd.py"


rule convert_bccd:
    input:
        archive=local("resources/bccd/archive.zip"),
    output:
        annotations=local("resources/bccd/{subset}/_annotations.coco.json"),
        digests=local("resources/bccd/{subset}/images.sha256"),
    log:
        "resources/logs/bccd_{subset}.log",
    localrule: True
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        **code_of("convert_bccd", "data"),
        manifest=bccd_files,
        files=f"rules/bccd.csv: {sha256(BCCD_FILES)[:16]}",
    message:
        "Converting the {wildcards.subset} subset of BCCD"
    script:
        "../scripts/convert_bccd.py"


rule prepare_dataset:
    input:
        unpack(compared_subsets),
        unpack(made_images),
        annotations=lambda wildcards: local([str(file) for file in source_of(wildcards).files]),
    output:
        "{run}/dataset/{split}.json",
    log:
        "{run}/logs/dataset_{split}.log",
    benchmark:
        "{run}/benchmarks/dataset_{split}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
        slurm_partition=partition(),
    params:
        **code_of("prepare_dataset", "data"),
        source=lambda wildcards: source_of(wildcards).as_parameter(),
        annotations=lambda wildcards: [
            digest_of("annotations", file) for file in source_of(wildcards).files
        ],
        images=lambda wildcards: changed_images(source_of(wildcards).whole),
        on_leak=on_leak,
        stand_in=lambda wildcards: wildcards.split == "test" and lacks_test(wildcards),
    message:
        "Checking the {wildcards.split} subset for {wildcards.run}"
    script:
        "../scripts/prepare_dataset.py"


rule cut_tiles:
    input:
        train="{run}/dataset/train.json",
    output:
        images=local(directory("{run}/dataset/tiles")),
        subset="{run}/dataset/tiles.json",
    log:
        "{run}/logs/tiles.log",
    benchmark:
        "{run}/benchmarks/tiles.tsv"
    wildcard_constraints:
        run=runs_where(lambda settings: settings["tiling"]),
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
        slurm_partition=partition(),
    params:
        **settings("tiling", "input_size"),
        **code_of("cut_tiles", "data"),
    message:
        "Cutting the train subset of {wildcards.run} into tiles"
    script:
        "../scripts/cut_tiles.py"
