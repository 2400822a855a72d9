"""The first batch of a training, as a picture: what the network learns from."""


rule draw_batch:
    input:
        unpack(training_subset),
    output:
        "{run}/dataset/batch.jpg",
    log:
        "{run}/logs/batch.log",
    benchmark:
        "{run}/benchmarks/batch.tsv"
    wildcard_constraints:
        run=runs_where(lambda settings: not settings["weights"]),
    conda:
        "../envs/training.yaml"
    resources:
        mem_mb=4000,
        runtime=10,
        slurm_partition=partition(),
    params:
        **settings("pipeline", "input_size"),
        **code_of("draw_batch", "training"),
        learning=lambda wildcards: {
            key: settings_of(wildcards)["learning_parameters"][key]
            for key in ("batch_size", "seed", "balance", "augmentation")
        },
    message:
        "Drawing the first batch of the training of {wildcards.run}"
    script:
        "../scripts/draw_batch.py"
