"""Benchmark: how fast the models of the base configuration are on this machine."""


rule benchmark:
    input:
        weights=f"{RESULTS}/weights.pth",
        xml=expand(f"{RESULTS}/{{model}}/openvino.xml", model=EXPORTED),
        bin=expand(f"{RESULTS}/{{model}}/openvino.bin", model=EXPORTED),
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
        **code_of("benchmark"),
        models=[f"{RESULTS}/{model}" for model in ("weights.pth", *EXPORTED)],
    message:
        "Measuring how fast the models of {RESULTS} are"
    script:
        "../scripts/benchmark.py"
