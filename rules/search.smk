"""Search: trials of other settings, the better third of which goes on to the next rung."""

from detmake.build import halving

# All trials learn from the images of the base run.
SEARCH = SETTINGS[""]["search"] or {}
SEARCHED = f"{RESULTS}/search"
DRAWN = trials.draw(SEARCH, schema.load_validator(SCHEMA)) if SEARCH else {}
# What differs from the configuration, by the names of the trials' runs: one for each trial and rung.
TRIALS = trials.runs(SEARCH, schema.load_validator(SCHEMA)) if SEARCH else {}
LAST_RUNG = len(SEARCH.get("rungs", [0]))


def trials_in(rung):
    """Return the names of the trials that a rung trains. Snakemake learns them rung by rung."""
    if not SEARCH:
        sys.exit("search: missing. Add this section to the configuration (config/README.md).")
    if rung == 1:
        return list(DRAWN)
    with checkpoints.rank_trials.get(rung=rung - 1).output[0].open() as ranking:
        return halving.going_on(ranking)


def trained_in(rung):
    """Return the folders of the trials that a rung trains."""
    return [f"{RESULTS}/{trials.run_name(rung, trial)}" for trial in trials_in(rung)]


# Templates may have settings of their own.
POT_PARAMETERS = {
    trial: SETTINGS[trials.run_name(LAST_RUNG, trial)]["pot_parameters"] for trial in DRAWN
}


# The output is a folder: that of a trial that fails holds the reason only, and the search goes on.
rule try_trial:
    input:
        unpack(pretrained_weights),
        **training_images(RESULTS, SETTINGS[""]),
        val=f"{RESULTS}/dataset/val.json",
    output:
        directory("{run}"),
    log:
        "{run}.log",
    wildcard_constraints:
        run="|".join(re.escape(f"{RESULTS}/{run}") for run in TRIALS) or "(?!)",
    conda:
        "../envs/training.yaml"
    threads: 16
    resources:
        mem_mb=lambda wildcards: 8000 * settings_of(wildcards)["resources"]["gpus"],
        runtime=24 * 60,
        slurm_partition=partition(TRAINED_ON_GPU),
        gpu=gpus(TRAINED_ON_GPU, lambda settings: settings["resources"]["gpus"]),
        device=lambda wildcards: settings_of(wildcards)["device"],
        processes=lambda wildcards: settings_of(wildcards)["resources"]["gpus"],
        num_workers=lambda wildcards: settings_of(wildcards)["learning_parameters"]["num_workers"],
        # Of all rungs: a trial goes on where it stopped.
        checkpoints=lambda wildcards: f"{SEARCHED}/checkpoints/{Path(wildcards.run).name}",
    params:
        **uncompared("name", "id", "store"),
        **settings("model", "pipeline", "optimizer", "input_size", "learning_parameters"),
        **code_of("try_trial", "training"),
        pretrained=pretrained_line,
        channel_order=lambda wildcards: (settings_of(wildcards)["pretrained"] or {}).get(
            "channel_order"
        ),
        # A training is the same in a search and outside of it: the store finds it for both.
        trained_by=code_of("train", "training")["code"],
    message:
        "Trying {params.name} for {wildcards.run}"
    script:
        "../scripts/try_trial.py"


# Latency does not depend on what a network has learned: the first rung's limits the others, too.
rule time_trials:
    input:
        **training_images(RESULTS, SETTINGS[""]),
        trials=lambda wildcards: trained_in(1),
        val=f"{RESULTS}/dataset/val.json",
    output:
        f"{SEARCHED}/latency.csv",
    log:
        f"{SEARCHED}/logs/latency.log",
    conda:
        "../envs/nncf.yaml"
    threads: 16
    resources:
        mem_mb=8000,
        runtime=120,
        slurm_partition=SETTINGS[""]["resources"]["partition"],
    params:
        **code_of("time_trials", "nncf"),
        pot_parameters=POT_PARAMETERS,
        inference_device=SETTINGS[""]["inference"]["device"],
    message:
        "Measuring the latency of the trials"
    script:
        "../scripts/time_trials.py"


# Which trials go on is known only when it has run. Snakemake then plans the next rung.
checkpoint rank_trials:
    input:
        trials=lambda wildcards: trained_in(int(wildcards.rung)),
        latency=f"{SEARCHED}/latency.csv",
    output:
        f"{SEARCHED}/rung_{{rung}}.csv",
    log:
        f"{SEARCHED}/logs/rung_{{rung}}.log",
    wildcard_constraints:
        rung="|".join(map(str, range(1, LAST_RUNG))) or "(?!)",
    localrule: True
    conda:
        "../envs/data.yaml"
    params:
        **code_of("rank_trials", "data"),
        objective=SEARCH.get("objective"),
        at_most=SEARCH.get("at_most", {}).get("latency_ms"),
    message:
        "Choosing the trials that go on from rung {wildcards.rung}"
    script:
        "../scripts/rank_trials.py"


rule measure_finalists:
    input:
        **training_images(RESULTS, SETTINGS[""]),
        trials=lambda wildcards: trained_in(LAST_RUNG),
        val=f"{RESULTS}/dataset/val.json",
    output:
        f"{SEARCHED}/finalists.csv",
    log:
        f"{SEARCHED}/logs/finalists.log",
    conda:
        "../envs/nncf.yaml"
    threads: 16
    resources:
        mem_mb=8000,
        runtime=24 * 60,
        slurm_partition=SETTINGS[""]["resources"]["partition"],
    params:
        **code_of("measure_finalists", "nncf"),
        pot_parameters=POT_PARAMETERS,
        inference_device=SETTINGS[""]["inference"]["device"],
    message:
        "Quantizing and measuring the trials of the last rung"
    script:
        "../scripts/measure_finalists.py"


rule conclude_search:
    input:
        rankings=lambda wildcards: expand(f"{SEARCHED}/rung_{{rung}}.csv", rung=range(1, LAST_RUNG)),
        finalists=f"{SEARCHED}/finalists.csv",
    output:
        best=f"{SEARCHED}/best.yaml",
        csv=f"{SEARCHED}/trials.csv",
        md=f"{SEARCHED}/trials.md",
        svg=f"{SEARCHED}/trials.svg",
    log:
        f"{SEARCHED}/logs/search.log",
    localrule: True
    conda:
        "../envs/reporting.yaml"
    params:
        **code_of("conclude_search", "reporting"),
        search=SEARCH,
        drawn=DRAWN,
        configurations={
            trial: configuration.alone(
                FILE_CONFIG, TRIALS[run], COMMAND_LINE, SCHEMA, SETTINGS[run]
            )
            for trial in DRAWN
            for run in [trials.run_name(LAST_RUNG, trial)]
        },
    message:
        "Concluding the search: {output.best}"
    script:
        "../scripts/conclude_search.py"


rule search:
    input:
        f"{SEARCHED}/best.yaml",
    localrule: True
    message:
        "{input} is the configuration that the search found"
