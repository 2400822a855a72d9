"""Comparison: all runs side by side, by accuracy, size and speed on this machine."""


def compared_models():
    """Return the models of all runs: their files, and how the table names them."""
    return [
        {
            "run": run or RESULTS,
            "template": SETTINGS[run]["name"],
            "subset": f"{folder}/dataset/{SETTINGS[run]['evaluation']['subset']}.json",
            "model": model,
            "path": path,
            "performance": f"{figures}/performance.json",
        }
        for run, folder in RUNS.items()
        for model, (figures, path) in shown(folder).items()
    ]


rule compare:
    input:
        [file for run in RUNS.values() for file in shown_models(run)],
        [file for run in RUNS.values() for file in shown_figures(run)],
        [model["subset"] for model in compared_models()],
        # It warns if figures are of their images.
        expand("{run}/dataset/{subset}.json", run=RUNS.values(), subset=["train", "val"]),
        subset=compared_models()[0]["subset"],
    output:
        csv=f"{RESULTS}/comparison.csv",
        md=f"{RESULTS}/comparison.md",
        svg=f"{RESULTS}/comparison.svg",
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
        **code_of("compare", "reporting"),
        inference_device=SETTINGS[""]["inference"]["device"],
        # Names of folders are not compared: those of copied results are others.
        models=lambda wildcards, input: compared_models(),
        templates=[SETTINGS[run]["name"] for run in RUNS],
    message:
        "Comparing the models of all runs"
    script:
        "../scripts/compare.py"
