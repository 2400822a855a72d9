"""Training: from a prepared dataset to a snapshot."""


def pretrained_weights(wildcards):
    """Return the input file that a run's training starts from, if it does not start from scratch."""
    check_paths()
    source = pretrained_source(settings_of(wildcards))
    if not source:
        return {}
    if "://" in source:
        return {"downloaded": local(f"resources/pretrained/{Path(source).name}")}
    return {"pretrained": local(str(Path(source)))}


def pretrained_line(wildcards):
    """A parameter: what training starts from, by its content, except a snapshot in the store.

    Which snapshot that is changes with each training. Its digest is a part of the fingerprint.
    """
    pretrained = settings_of(wildcards)["pretrained"]
    if pretrained and pretrained["source"] == PREVIOUS:
        return PREVIOUS
    return digest_of("pretrained", pretrained_source(settings_of(wildcards)))


rule train:
    input:
        unpack(pretrained_weights),
        unpack(training_subset),
        val="{run}/dataset/val.json",
        # Not used, but checked: a mistake in it should show before the training, not after it.
        test=ancient("{run}/dataset/test.json"),
    output:
        weights="{run}/weights.pth",
        label_schema="{run}/label_schema.json",
        confidence_threshold="{run}/confidence_threshold",
        scalars="{run}/logs/scalars.csv",
        per_class="{run}/logs/per_class.csv",
    log:
        "{run}/logs/train.log",
    benchmark:
        "{run}/benchmarks/train.tsv"
    wildcard_constraints:
        run=runs_where(lambda settings: not settings["weights"]),
    conda:
        "../envs/training.yaml"
    threads: 16
    resources:
        mem_mb=lambda wildcards: 8000 * settings_of(wildcards)["resources"]["gpus"],
        runtime=24 * 60,
        slurm_partition=partition(TRAINED_ON_GPU),
        gpu=gpus(TRAINED_ON_GPU, lambda settings: settings["resources"]["gpus"]),
        # Resources, unlike parameters, are no reason to train again.
        device=lambda wildcards: settings_of(wildcards)["device"],
        processes=lambda wildcards: settings_of(wildcards)["resources"]["gpus"],
        num_workers=lambda wildcards: settings_of(wildcards)["learning_parameters"]["num_workers"],
        # An interrupted training resumes from there. Not an output, which a failure would remove.
        checkpoints=lambda wildcards: f"{wildcards.run}/checkpoints",
    params:
        **uncompared("name", "id", "store"),
        **settings("model", "pipeline", "optimizer", "input_size", "learning_parameters"),
        **code_of("train", "training"),
        pretrained=pretrained_line,
        channel_order=lambda wildcards: (settings_of(wildcards)["pretrained"] or {}).get(
            "channel_order"
        ),
    message:
        "Training {params.name} for {wildcards.run}"
    script:
        "../scripts/train.py"
