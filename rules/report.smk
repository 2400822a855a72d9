"""Report: what the models of a run do well and badly, as one HTML page."""

import shlex

REPORT_FILES = ["report.html", "report.css", "report.js"]
# Results of a run that its report shows or speaks of, as far as they are there.
REPORTED = ["weights.pth", "performance.json", "speed.csv"]
REPORTED += ["dataset/statistics.json", "dataset/batch.jpg"]
REPORTED += [
    f"{model}/{file}" for model in EXPORTED for file in ("openvino.xml", "performance.json")
]


def training_record(wildcards):
    """Return the record of a run's training, and its first batch; given weights have none."""
    files = [] if settings_of(wildcards)["weights"] else ["logs/scalars.csv", "dataset/batch.jpg"]
    return [f"{wildcards.run}/{file}" for file in files]


def steps_of(folder, files):
    """Return the jobs that made some files of a run, as Snakemake recorded them."""
    recorded = workflow.persistence
    recorded._clear_cache()
    return provenance.steps([f"{folder}/{file}" for file in files], recorded._read_record)


def provenance_of(run):
    """Return what a report says about the configuration of a run."""

    def lines(settings):
        return {
            name: line
            for key in PROPERTIES
            if key in settings
            for name, line in dependencies.lines(key, settings[key]).items()
        }

    # No default for `data`: the report shows the run's.
    options = options_of_call()
    least = {"template": SETTINGS[run]["template"], "data": "."}
    defaults = checked(configuration.resolve, least, {}, SCHEMA, ROOT / "templates")[""]
    own, unchanged = lines(SETTINGS[run]), lines(defaults).items()
    return {
        "command": shlex.join(["snakemake", f"{RUNS[run]}/report.html", *options]),
        "options": options,
        "changed": [
            line
            for name, line in own.items()
            if name == "template" or (name, line) not in unchanged
        ],
        "settings": list(own.values()),
        "steps": [
            step | {"command": shlex.join(["snakemake", step["files"][0], *options])}
            for step in steps_of(RUNS[run], REPORTED)
        ],
    }


rule measure_speed:
    input:
        lambda wildcards: shown_models(wildcards.run),
        subset=evaluated_subset,
    output:
        "{run}/speed.csv",
    log:
        "{run}/logs/speed.log",
    benchmark:
        "{run}/benchmarks/speed.tsv"
    conda:
        "../envs/reporting.yaml"
    threads: 16
    resources:
        mem_mb=8000,
        runtime=60,
        slurm_partition=partition(),
    params:
        **settings("inference"),
        **code_of("measure_speed", "reporting"),
    message:
        "Measuring the speed of the models of {wildcards.run}"
    script:
        "../scripts/measure_speed.py"


rule report_run:
    input:
        lambda wildcards: shown_models(wildcards.run),
        lambda wildcards: shown_figures(wildcards.run),
        training_record,
        "{run}/speed.csv",
        "{run}/dataset/statistics.json",
        # It warns if figures are of their images.
        expand("{{run}}/dataset/{subset}.json", subset=["train", "val"]),
        subset=evaluated_subset,
        assets=local([ROOT / "scripts/reported" / file for file in REPORT_FILES]),
    output:
        html="{run}/report.html",
        csv="{run}/suspects.csv",
        json="{run}/suspects.json",
    log:
        "{run}/logs/report.log",
    conda:
        "../envs/reporting.yaml"
    resources:
        mem_mb=8000,
        runtime=60,
        slurm_partition=partition(),
    params:
        **code_of("report_run", "reporting"),
        # Of `input`, so that Snakemake does not compare it: the figures say what they depend on.
        provenance=lambda wildcards, input: provenance_of(run_of(wildcards)),
    message:
        "Reporting on {wildcards.run}"
    script:
        "../scripts/report_run.py"


# Without outputs, since it is never up to date; without a log file, since it prints.
rule report:
    localrule: True
    conda:
        "../envs/reporting.yaml"
    params:
        runs=lambda wildcards: {folder: provenance_of(run) for run, folder in RUNS.items()},
        assets=str(ROOT / "scripts/reported"),
    message:
        "Reporting on what there is; nothing is built"
    script:
        "../scripts/report.py"
