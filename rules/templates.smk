"""Templates: the detectors to choose from."""


localrules:
    templates,


# Without a log file: what it writes is for the terminal.
rule templates:
    input:
        local(sorted((ROOT / "templates").glob("*.yaml"))),
    conda:
        "../envs/reporting.yaml"
    message:
        "Templates in templates"
    script:
        "../scripts/templates.py"
