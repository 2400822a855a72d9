"""Comparison: all runs side by side, by accuracy, size and speed on this machine."""


def compared_models():
    """Return the models of all runs: their files, and how the table names them."""
    models = []
    for name, run in RUNS.items():
        settings = SETTINGS[name]
        common = {
            "run": name or RESULTS,
            "template": settings["name"],
            "subset": f"{run}/dataset/{settings['evaluation']['subset']}.json",
        }
        models += [
            {
                **common,
                "model": model,
                "path": f"{run}/{path}",
                "performance": f"{run}/{folder}performance.json",
            }
            for model, path, folder in (
                ("snapshot", "weights.pth", ""),
                ("IR", "openvino", "openvino/"),
                ("int8 IR", "pot", "pot/"),
            )
        ]
    return models


rule compare:
    input:
        [model["performance"] for model in compared_models()],
        expand(
            "{run}/{file}",
            run=RUNS.values(),
            file=[
                "weights.pth",
                *model_folder("openvino", "xml", "bin").values(),
                *model_folder("pot", "xml", "bin").values(),
            ],
        ),
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
        models=compared_models(),
    message:
        "Comparing the models of all runs"
    script:
        "../scripts/compare.py"
