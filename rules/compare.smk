"""Comparison: all runs side by side, by what they find and how fast they are on this machine."""


def compared_models():
    """The models of all runs: what the table says of them, and their files."""
    models = []
    for name, settings in SETTINGS.items():
        run = RUNS[name]
        common = {
            "run": name or RESULTS,
            "template": settings["name"],
            "subset": f"{run}/dataset/{settings['evaluation']['subset']}.json",
        }
        models += [
            {
                **common,
                "precision": precision,
                "path": f"{run}/{path}",
                "performance": f"{run}/{folder}performance.json",
            }
            for precision, path, folder in (
                ("snapshot", "weights.pth", ""),
                ("IR", "openvino", "openvino/"),
                ("POT", "pot", "pot/"),
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
    threads: 16
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        models=compared_models(),
        code=code_of("compare"),
    message:
        "Comparing the models of all runs"
    script:
        "../scripts/compare.py"
