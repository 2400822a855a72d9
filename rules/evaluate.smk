"""Evaluation: from a model and a subset to its performance."""


rule evaluate_snapshot:
    input:
        weights="{run}/weights.pth",
        subset=evaluated_subset,
    output:
        performance="{run}/performance.json",
        predictions="{run}/predictions.json",
    log:
        "{run}/logs/evaluate.log",
    benchmark:
        "{run}/benchmarks/evaluate.tsv"
    conda:
        "../envs/training.yaml"
    threads: 16
    resources:
        mem_mb=4000,
        runtime=60,
        slurm_partition=partition(EVALUATED_ON_GPU),
        gpu=gpus(EVALUATED_ON_GPU),
        device=lambda wildcards: settings_of(wildcards)["device"],
    params:
        **settings("postprocessing"),
        **code_of("evaluate_snapshot", "training"),
    message:
        "Evaluating the snapshot of {wildcards.run}"
    script:
        "../scripts/evaluate_snapshot.py"


rule evaluate_ir:
    input:
        **model_folder("{run}/{model}", "xml", "bin", "config"),
        subset=evaluated_subset,
    output:
        performance="{run}/{model}/performance.json",
        predictions="{run}/{model}/predictions.json",
    log:
        "{run}/logs/evaluate_{model}.log",
    benchmark:
        "{run}/benchmarks/evaluate_{model}.tsv"
    wildcard_constraints:
        model="|".join(EXPORTED),
    conda:
        "../envs/inference.yaml"
    threads: 16
    resources:
        mem_mb=4000,
        runtime=60,
        slurm_partition=partition(),
    params:
        **settings("postprocessing", "inference"),
        **code_of("evaluate_ir", "inference"),
    message:
        "Evaluating the {wildcards.model} model of {wildcards.run}"
    script:
        "../scripts/evaluate_ir.py"
