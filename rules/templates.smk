"""Templates: the detectors to choose from."""


localrules:
    templates,


rule templates:
    input:
        sorted((ROOT / "config/templates").glob("*.yaml")),
    message:
        "Templates in config/templates"
    script:
        "../scripts/templates.py"
