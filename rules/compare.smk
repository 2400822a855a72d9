"""Comparison: all runs side by side, by what they find and how fast they are on this machine."""


rule compare:
    input:
        [model["performance"] for model in compared_models()],
        expand(
            "{run}/{file}",
            run=RUNS.values(),
            file=[
                "weights.pth",
                "openvino/openvino.xml",
                "openvino/openvino.bin",
                "pot/openvino.xml",
                "pot/openvino.bin",
            ],
        ),
        subset=compared_models()[0]["subset"],
    output:
        csv=f"{RESULTS}/comparison.csv",
        md=f"{RESULTS}/comparison.md",
    log:
        f"{RESULTS}/logs/comparison.log",
    conda:
        "../envs/reporting.yaml"
    threads: 16
    resources:
        mem_mb=8000,
        runtime=60,
        slurm_partition=SETTINGS[""]["resources"]["partition"],
    params:
        **code_of("compare"),
        models=compared_models(),
    message:
        "Comparing the models of all runs"
    script:
        "../scripts/compare.py"
