"""Templates: the detectors to choose from."""


# Without a log file: it writes to the terminal only.
rule templates:
    input:
        local(sorted((ROOT / "templates").glob("*.yaml"))),
    localrule: True
    conda:
        "../envs/reporting.yaml"
    message:
        "Listing the templates"
    script:
        "../scripts/templates.py"
