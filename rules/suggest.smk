"""Suggest: an experiment for a dataset, this machine and a wish for minutes."""

# Keys that a suggestion is about. Others that the command line gives are copied into it, but for some.
SUGGESTED_KEYS = {"data", "minutes", "template", "input_size"}
REFUSED_KEYS = {
    "pretrained": "chooses it",
    "learning_parameters": "chooses it",
    "backbone": "measures the templates without it",
    "tiling": "measures whole images",
}


@cache
def suggested_data():
    """Return the base run's data with a split, if it needs one. Stop if a path in it is wrong."""
    data = checked(sources.with_val, SETTINGS[""]["data"], is_made)
    mistakes = [
        path.mistake(MADE_DATASETS)
        for path in checked(sources.named_paths, data, is_made)
        if not is_made(path.path)
    ]
    if any(mistakes):
        sys.exit(configuration.summary(list(filter(None, mistakes))))
    return data


def made_files(wildcards):
    """Return the annotations and images of the data that rules make."""
    found = set(checked(sources.locate, suggested_data(), is_made).values())
    paths = [path for source in found for path in (*source.files, source.root)]
    paths += [source.root / image_digests.GENERATED_DIGESTS for source in found]
    return [local(str(path)) for path in dict.fromkeys(paths) if is_made(path)]


def candidates(wildcards):
    """Return the settings of the templates to choose from: one, if the command line names it."""
    names = sorted(file.stem for file in (ROOT / "templates").glob("*.yaml"))
    if "template" in COMMAND_LINE:
        names = [SETTINGS[""]["template"]]
    schedule = {"learning_rate_schedule": "cosine", "enable_early_stopping": False}
    configs = {
        name: {"data": "any", "template": name, "learning_parameters": schedule} for name in names
    }
    return {
        name: configuration.resolve(config, {}, SCHEMA, ROOT / "templates")[""]
        for name, config in configs.items()
    }


def copied_keys(wildcards):
    """Return what the command line gives besides what is suggested, and what was measured with."""
    given = schema.coerce(COMMAND_LINE, schema.load_validator(SCHEMA).schema)
    refused = [
        f"{key}: `suggest` {why}. Remove it here, and change it in the file that it writes."
        for key, why in REFUSED_KEYS.items()
        if key in given
    ]
    if refused:
        sys.exit(configuration.summary(refused))
    copied = {key: value for key, value in given.items() if key not in SUGGESTED_KEYS}
    # The measured times are of these values, which may also come from the experiment's file.
    device, pot = SETTINGS[""]["device"], SETTINGS[""]["pot_parameters"]
    if device != PROPERTIES["device"]["default"]:
        copied["device"] = device
    size = "stat_subset_size"
    if pot[size] != PROPERTIES["pot_parameters"]["properties"][size]["default"]:
        copied["pot_parameters"] = copied.get("pot_parameters", {}) | {size: pot[size]}
    return copied


# Without outputs, as in plan.smk: Snakemake would remove a file before it is written again.
rule suggest:
    input:
        made_files,
    log:
        f"{RESULTS}/logs/suggest.log",
    localrule: True
    conda:
        "../envs/suggestion.yaml"
    threads: 16
    resources:
        device=SETTINGS[""]["device"],
    params:
        data=lambda wildcards: suggested_data(),
        templates=candidates,
        input_size=SETTINGS[""]["input_size"] if "input_size" in COMMAND_LINE else None,
        calibration=SETTINGS[""]["pot_parameters"]["stat_subset_size"],
        copied=copied_keys,
        minutes=SETTINGS[""]["minutes"],
        folder=None if Path().resolve() == ROOT.resolve() else ".",
        workflow=str(ROOT.resolve()),
        snakefiles=SNAKEFILE_CHOICES,
    message:
        "Measuring the templates on this machine, for {params.minutes:g} minutes of building"
    script:
        "../scripts/suggest.py"
