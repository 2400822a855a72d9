"""Export: from a snapshot to OpenVINO IR."""


rule export:
    input:
        weights="{run}/weights.pth",
    output:
        **model_folder("{run}/openvino"),
    log:
        "{run}/logs/export.log",
    benchmark:
        "{run}/benchmarks/export.tsv"
    conda:
        "../envs/training.yaml"
    resources:
        mem_mb=4000,
        runtime=10,
        slurm_partition=partition(),
    params:
        **code_of("export", "training"),
    message:
        "Exporting {wildcards.run} to OpenVINO IR"
    script:
        "../scripts/export.py"
