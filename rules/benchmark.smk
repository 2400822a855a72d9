"""Benchmark: the speed of the base run's models on this machine."""


rule benchmark:
    input:
        shown_models(RESULTS),
        subset=f"{RESULTS}/dataset/{SETTINGS['']['evaluation']['subset']}.json",
    output:
        csv=f"{RESULTS}/benchmark.csv",
        md=f"{RESULTS}/benchmark.md",
    log:
        f"{RESULTS}/logs/benchmark.log",
    conda:
        "../envs/reporting.yaml"
    threads: 16
    resources:
        mem_mb=8000,
        runtime=60,
        slurm_partition=SETTINGS[""]["resources"]["partition"],
    params:
        **code_of("benchmark", "reporting"),
        inference_device=SETTINGS[""]["inference"]["device"],
        # Of `input`, so that Snakemake does not compare it: the folder of copied results is another.
        models=lambda wildcards, input: {name: path for name, (_, path) in shown(RESULTS).items()},
    message:
        f"Measuring the speed of the models of {RESULTS}"
    script:
        "../scripts/benchmark.py"
