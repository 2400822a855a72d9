"""Inputs of the user: the files and folders that a configuration names."""

# Digests of the user's files, with what tells whether a file has changed.
DIGESTS = Path(".snakemake/digests")

# Files of a run that a key could name by mistake.
RUN_FILES = ["weights.pth", "nncf/weights.pth"]
RUN_FILES += [f"dataset/{split}.json" for split in ("train", "val", "test", "tiles")]
# Folders of a run's checkpoints.
CHECKPOINTS = ["checkpoints", "nncf_checkpoints"]
# Folders whose files the build removes: of trainings that start anew, and of trials.
EMPTIED = [f"{run}/nncf_checkpoints" for run in RUNS.values()]
EMPTIED += [f"{RUNS[run]}/checkpoints" for run in RUNS if not SETTINGS[run]["weights"]]
EMPTIED += [f"{RESULTS}/search"] if SETTINGS[""]["search"] else []

# Datasets that the rules of this workflow make.
MADE_DATASETS = ["resources/cells", "resources/slides", "resources/bccd"]


@cache
def is_made(*files):
    """Return whether one rule makes all these files or folders; it may be a user's own rule."""
    return any(all(rule.is_producer(str(file)) for file in files) for rule in workflow.rules)


# In place of a path: the run's last snapshot in the store.
PREVIOUS = "previous"


def pretrained_source(run_settings):
    """Return the address or path of the weights that a run's training starts from, or None."""
    source = (run_settings["pretrained"] or {}).get("source")
    return None if source == PREVIOUS else source


@cache
def digest_of(key, file):
    """A parameter: a line about the content of a file that a key names.

    Snakemake looks only at files that are newer than the outputs; this line also shows that an
    older file took the place of another. It is None if a rule makes the file: it would differ
    before and after that rule.
    """
    if file is None or "://" in str(file) or is_made(Path(file)):
        return None
    digest = checked(file_digests.file_digest, Path(file), DIGESTS)
    return digest and f"{key} {file}: {digest[:16]}"


def named_paths(run_settings):
    """Return the files and folders that a run's configuration names."""
    paths = sources.named_paths(run_settings["data"], is_made)
    source = pretrained_source(run_settings)
    if run_settings["weights"]:
        file = Path(run_settings["weights"])
        paths.append(NamedPath("weights", file, "a finished snapshot or checkpoint"))
    elif source and "://" not in source:
        paths.append(NamedPath("pretrained", Path(source), "a file of weights"))
    return paths


def taken_output(named, run):
    """Return what is wrong if a path is an output of a run, which Snakemake deletes before the job.

    Another run's output is right under the name that the build gives it: it is made first. The best
    trial of a search becomes a base run of its own, and may not start from that of this one.
    """
    own = {run, ""} if trials.is_trial(run) else {run}
    # Functions of `os.path`: those of Path raise where one may not look, or where links are a loop.
    real = Path(os.path.realpath(named.path))
    for folder in EMPTIED:
        if real.is_relative_to(os.path.realpath(folder)):
            return (
                f"{named.key}: found {named.path}, but the build removes files in {folder}; copy it "
                "elsewhere, and give the path of the copy"
            )
    for name, folder in RUNS.items():
        for output in (Path(folder) / file for file in RUN_FILES):
            is_same = named.path.absolute() == output.absolute() or (
                os.path.exists(named.path)
                and os.path.exists(output)
                and os.path.samefile(named.path, output)
            )
            if is_same and (name in own or named.path != output):
                return (
                    f"{named.key}: found {named.path}, but the build makes this file ({output}) "
                    "and deletes it first; copy it elsewhere, and give the path of the copy"
                )
    return None


def pattern_in(path):
    """Return what is wrong if Snakemake would replace a part of a path; None if nothing."""
    if found := re.search(rf"\{{\s*\w+\s*[,}}]|{PATH_VARIABLE}", str(path)):
        kind = "path variable" if found[0].startswith("<") else "wildcard"
        return f"found {path}, in which Snakemake would take {found[0]} for a {kind}; rename the folder or file"
    return None


def mistakes_of(run):
    """Return what is wrong with the paths of a run's configuration; one mistake for each key."""
    try:
        named = named_paths(SETTINGS[run])
    except InputError as error:
        return [f"data: {error}"]
    mistakes = {}
    for path in named:
        mistake = taken_output(path, run)
        if not mistake and (pattern := pattern_in(path.path)):
            mistake = f"{path.key}: {pattern}"
        if not mistake and not is_made(path.path):
            mistake = path.mistake(MADE_DATASETS)
        if mistake:
            mistakes.setdefault(path.key, mistake)
    return list(mistakes.values())


@cache
def check_paths():
    """Stop if a path in the configuration of any run is wrong.

    Input functions call this: all rules are known then, and no job has run. It exits, since
    Snakemake ignores their errors where the output of the job exists.
    """
    if not workflow.is_main_process:
        return
    mistakes = []
    for run in SETTINGS:
        prefix = configuration.place_of(run)
        # Runs share the mistakes of the base run, which comes first.
        mistakes += [f"{prefix}{m}" for m in mistakes_of(run) if m not in mistakes]
    if mistakes:
        sys.exit(configuration.summary(mistakes) + f"\nRelative paths count from {Path.cwd()}.")
