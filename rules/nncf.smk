"""Quantization-aware training: from a snapshot to an int8 one, and its OpenVINO IR."""


rule quantize_nncf:
    input:
        unpack(training_subset),
        weights="{run}/weights.pth",
        val="{run}/dataset/val.json",
    output:
        **model_folder("{run}/nncf"),
        weights="{run}/nncf/weights.pth",
    log:
        "{run}/logs/nncf.log",
    benchmark:
        "{run}/benchmarks/nncf.tsv"
    conda:
        "../envs/nncf.yaml"
    threads: 16
    resources:
        mem_mb=8000,
        runtime=12 * 60,
        slurm_partition=partition(TRAINED_ON_GPU),
        gpu=gpus(TRAINED_ON_GPU),
        device=lambda wildcards: settings_of(wildcards)["device"],
        num_workers=lambda wildcards: settings_of(wildcards)["learning_parameters"]["num_workers"],
        checkpoints=lambda wildcards: f"{wildcards.run}/nncf_checkpoints",
    params:
        **uncompared("store"),
        **settings("pipeline", "optimizer", "learning_parameters", "nncf_optimization"),
        **code_of("quantize_nncf", "nncf"),
    message:
        "Quantization-aware training of {wildcards.run}"
    script:
        "../scripts/quantize_nncf.py"
