"""Weights that detmake did not train: pretrained ones that training starts from, and finished ones."""

# Addresses of all runs' pretrained weights, by file name.
PRETRAINED = {
    Path(source).name: source
    for source in map(pretrained_source, SETTINGS.values())
    if source and "://" in source
}


def finished_weights(wildcards):
    """Return the finished weights that a run takes instead of training."""
    check_paths()
    return Path(settings_of(wildcards)["weights"])


rule download_pretrained:
    output:
        local("resources/pretrained/{file}"),
    log:
        "resources/logs/pretrained_{file}.log",
    wildcard_constraints:
        file="|".join(map(re.escape, PRETRAINED)) or "(?!)",
    localrule: True
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        **code_of("download_pretrained", "data"),
        url=lambda wildcards: PRETRAINED[wildcards.file],
    message:
        "Downloading pretrained weights from {params.url}"
    script:
        "../scripts/download_pretrained.py"


rule adopt_weights:
    input:
        unpack(training_subset),
        weights=lambda wildcards: local(str(finished_weights(wildcards))),
        val="{run}/dataset/val.json",
        # Not used, but checked before the weights are, as in training.
        test=ancient("{run}/dataset/test.json"),
    output:
        weights="{run}/weights.pth",
        label_schema="{run}/label_schema.json",
        confidence_threshold="{run}/confidence_threshold",
    log:
        "{run}/logs/adopt.log",
    benchmark:
        "{run}/benchmarks/adopt.tsv"
    wildcard_constraints:
        run=runs_where(lambda settings: settings["weights"]),
    conda:
        "../envs/training.yaml"
    threads: 16
    resources:
        mem_mb=4000,
        runtime=60,
        slurm_partition=partition(EVALUATED_ON_GPU),
        gpu=gpus(EVALUATED_ON_GPU),
        device=lambda wildcards: settings_of(wildcards)["device"],
        # Of a training that these weights replace (rules/store.smk).
        checkpoints=lambda wildcards: f"{wildcards.run}/checkpoints",
        note=lambda wildcards: f"{wildcards.run}/logs/train.json",
    params:
        **uncompared("name", "id"),
        **settings("model", "input_size"),
        **code_of("adopt_weights", "training"),
        weights=lambda wildcards: digest_of("weights", finished_weights(wildcards)),
        # What an earlier training of the run left. A report would take it for that of the weights. Of
        # `input`, so that Snakemake does not compare it: a copied folder may have another name.
        record=lambda wildcards, input: [
            f"{wildcards.run}/{file}"
            for file in (
                "logs/scalars.csv",
                "logs/per_class.csv",
                "logs/train.json",
                "dataset/batch.jpg",
            )
        ],
    message:
        "Using finished weights {input.weights} instead of training {wildcards.run}"
    script:
        "../scripts/adopt_weights.py"
