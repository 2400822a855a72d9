"""What the rules share: the configuration of each run, and what a rule depends on besides files."""

import hashlib
import json
import os
import re
import sys
from functools import cache
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod, RerunTrigger
from snakemake.utils import update_config

# The clone. Relative, so that results stay up to date when the project and the clone move together.
ROOT = Path(os.path.relpath(Path(workflow.current_basedir).parent))
sys.path.insert(0, str(ROOT.resolve() / "scripts"))

from detmake.artifacts import MODEL_FILES
from detmake.build import configuration, dependencies, schema, trials
from detmake.data import file_digests, image_digests, sources
from detmake.runtime import demo_files as demo_file_names
from detmake.errors import InputError
from detmake.model_names import MODELS, OPTIONAL
from detmake.named_paths import NamedPath

# Files that are not results are marked `local`: they stay on this machine where results go to object
# storage (docs/storage.md).


def checked(function, *arguments):
    """Call the library; turn a mistake in the user's input into Snakemake's own kind of error."""
    try:
        return function(*arguments)
    except InputError as error:
        raise WorkflowError(str(error)) from None


if workflow.modifier.is_main_snakefile() and not workflow.configfiles:
    # First, since Snakemake prints a traceback for some mistakes, and can run code in the file.
    checked(configuration.check_file, Path(experiment))

    configfile: experiment


if workflow.modifier.is_main_snakefile():
    # Not Snakemake's `config`: that is merged with the command line regardless of a mapping's type.
    FILE_CONFIG, COMMAND_LINE = {}, workflow.config_settings.config
    # Snakemake gives a job the values of --config with doubled backslashes: another `data.group`.
    AS_GIVEN = "DETMAKE_COMMAND_LINE"
    if workflow.is_main_process:
        os.environ[AS_GIVEN] = json.dumps(COMMAND_LINE, default=str)
    elif AS_GIVEN in os.environ:
        COMMAND_LINE = json.loads(os.environ[AS_GIVEN])
    for path in workflow.overwrite_configfiles or workflow.configfiles:
        checked(configuration.check_file, Path(path))
        update_config(FILE_CONFIG, load_configfile(path))
    # The environments in envs/ are complete, but the pip that conda starts would install dependencies
    # as well, and those of MMDetection include a second OpenCV, which needs system libraries. A conda
    # file cannot say --no-deps. In a module the variable would reach the environments of other rules.
    os.environ.setdefault("PIP_NO_DEPS", "1")
elif workflow.modifier.skip_configfile:
    # A module's `config:`, which the importing workflow has merged with the command line.
    FILE_CONFIG, COMMAND_LINE = config, {}
else:
    raise WorkflowError("The module of detmake has no `config:`. Add `config: config` to it.")


SCHEMA = ROOT / "rules/schema.yaml"
SETTINGS = checked(configuration.resolve, FILE_CONFIG, COMMAND_LINE, SCHEMA, ROOT / "templates")
RESULTS = SETTINGS[""]["results"]


def variable(name):
    """Return the environment variable that tells jobs something about the build.

    It is of these results, since a workflow may have several modules of detmake.
    """
    return f"DETMAKE_{hashlib.sha256(f'{RESULTS}/{name}'.encode()).hexdigest()[:16]}"


def as_build_began(name, value):
    """Return a JSON value as the build's main process found it: a job of a cluster may find another."""
    if workflow.is_main_process:
        os.environ[variable(name)] = json.dumps(value)
    return json.loads(os.environ.get(variable(name), json.dumps(value)))


# Of each run, since an environment variable has little room.
BEGAN = {
    run: as_build_began(f"settings of {run}", configuration.digests(run_settings))
    for run, run_settings in SETTINGS.items()
}
RUNS_AT_FIRST = as_build_began("runs", list(SETTINGS))


def check_settings(script, wildcards):
    """Stop a job that found other settings than the build began with.

    On a cluster, a job reads configuration and template when it starts, perhaps after an edit. Its
    results would be recorded as made with the settings of the build. A job of no run reads those of
    all. It exits, since Snakemake ignores some errors of functions.
    """
    if workflow.is_main_process:
        return
    # While a build runs, its demo may be changed, but not that of a demo that waits.
    free = set() if script == "demonstrate" else {"demo"}
    runs = [run_of(wildcards)] if "run" in wildcards.keys() else SETTINGS
    others = sorted({*RUNS_AT_FIRST} ^ {*SETTINGS}) if runs is SETTINGS else []
    found = [f"other runs ({run} was added or removed)" for run in others]
    for run in runs:
        own, began = configuration.digests(SETTINGS[run]), BEGAN[run]
        edited = sorted(key for key in began.keys() - free if began[key] != own.get(key))
        found += [f"other settings for {configuration.place_of(run)}{key}" for key in edited]
    if found:
        sys.exit(
            "The configuration was edited after this build began, or its template: this job found "
            f"{found[0]}. Expected the same until all jobs have started. Run the command again: it "
            "takes the new settings."
        )


# Folder of each run, by its name.
RUNS = {
    name: f"{RESULTS}/{name}" if name else RESULTS for name in SETTINGS if not trials.is_trial(name)
}
# Folders of a run's exported models: the models that a demo can show.
PROPERTIES = schema.load_validator(SCHEMA).schema["properties"]
EXPORTED = PROPERTIES["demo"]["properties"]["model"]["enum"]

for path in (f"{RESULTS}/", "resources/"):
    if workflow.modifier.path_modifier.replace_prefix(path) != path:
        raise WorkflowError(
            f"The module of detmake has a `prefix:` or `replace_prefix:` that changes {path}. Snakemake "
            "would change it in some places but not in others. Remove it, and name the folder of the "
            "results by the key `results` of the module's `config:`."
        )


def runs_where(condition):
    """Return a pattern of the folders of the runs whose settings fulfil a condition."""
    folders = [folder for name, folder in RUNS.items() if condition(SETTINGS[name])]
    return "|".join(map(re.escape, folders)) or "(?!)"  # without runs, match nothing


wildcard_constraints:
    # The run of the base configuration, or one of the variants that the configuration names.
    run=runs_where(lambda settings: True),
    split="train|val|test",


# Keys of the command line that are of one call.
ONCE = {"plan", "verify", "clean", "minutes"}


def options_of_call():
    """Return the options of `snakemake` that give a target the configuration of this call."""
    words = []
    if Path(workflow.main_snakefile).parent.resolve() != Path().resolve():
        words += ["--snakefile", os.path.relpath(workflow.main_snakefile)]
    files = workflow.overwrite_configfiles or workflow.configfiles
    words += ["--configfile"] * bool(files) + [*map(os.path.relpath, files)]
    values = [
        f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in workflow.config_settings.config.items()
        if key not in ONCE
    ]
    return words + ["--config"] * bool(values) + values


def run_of(wildcards):
    return wildcards.run.removeprefix(RESULTS).removeprefix("/")


def settings_of(wildcards):
    return SETTINGS[run_of(wildcards)]


def part_of(run_settings, key):
    """Return a part of a run's configuration without the keys that do not change results."""
    part = run_settings[key]
    if isinstance(part, dict):
        return {name: item for name, item in part.items() if name not in configuration.SPEED_ONLY}
    return part


def uncompared(*keys):
    """Parameters, for `**`: parts of a run's configuration that make nothing stale.

    Snakemake does not compare them, since they are functions of `input`.
    """

    def part(key):
        return lambda wildcards, input: part_of(settings_of(wildcards), key)

    return {key: part(key) for key in keys}


def settings(*keys):
    """Parameters, for `**`: the parts of a run's configuration that a rule depends on.

    A script finds each part under its key. Snakemake compares one line for each value in it, and
    prints the lines that changed.
    """
    lines = {
        run: {
            name: line
            for key in keys
            for name, line in dependencies.lines(key, part_of(run_settings, key)).items()
        }
        for run, run_settings in SETTINGS.items()
    }

    def line(name):
        def of_run(wildcards):
            own = lines[run_of(wildcards)]
            # Snakemake compares the set of all values. A run that lacks this one repeats another,
            # since None would be a change when a run that has it is added.
            return own.get(name, next(iter(own.values())))

        return of_run

    names = (name for lines_of_run in lines.values() for name in lines_of_run)
    return uncompared(*keys) | {f"compared {name}": line(name) for name in names}


CODE = dependencies.code_of_scripts(ROOT / "scripts", Path(".snakemake/code_digests"))
CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method


@cache
def tell_of_code_trigger():
    """Say once in a build that Snakemake itself compares scripts, too."""
    if workflow.is_main_process and RerunTrigger.CODE in workflow.rerun_triggers:
        logger.info(
            "Snakemake's trigger `code` is on: a touched script or a comment in it makes results stale. "
            f"{ROOT.resolve() / 'docs/your-data.md'} says how to turn it off."
        )


@cache
def code_of(script, environment):
    """Parameters, for `**`: what a rule's script runs, in an environment of `envs/`.

    Snakemake compares one line for the script, for each library module that it imports, and for each
    package that it computes with. The script finds all these lines under `code`.
    """
    code = CODE[f"{script}.py"]
    names = {f"{script}.py": f"scripts/{script}.py"}
    digests = {names.get(file, file): digest for file, digest in code.files.items()}
    definition = ROOT / f"envs/{environment}.yaml"
    versions = dependencies.versions(code.packages, definition, installed=not CONDA)
    lines = {f"compared {name}": f"{name}: {state}" for name, state in (digests | versions).items()}

    def all_lines(wildcards, input):
        # While it reads the rules, Snakemake knows neither its triggers nor the job.
        tell_of_code_trigger()
        check_settings(script, wildcards)
        return list(lines.values())

    return {"code": all_lines, **lines}


def model_folder(folder, *names):
    """Inputs or outputs, for `**`: files of a model folder by their names; if none, all files."""
    return {name: f"{folder}/{MODEL_FILES[name]}" for name in names or MODEL_FILES}


def evaluated_subset(wildcards):
    """Return the prepared subset on which the models of a run are measured."""
    return f"{wildcards.run}/dataset/{settings_of(wildcards)['evaluation']['subset']}.json"


# Quantization-aware training takes long: its model is shown if there is one, and not asked for.
WITH_OPTIONAL = as_build_began(
    "runs with all models",
    [run for run in RUNS.values() if Path(run, MODELS[OPTIONAL][1], MODEL_FILES["xml"]).exists()],
)


def shown(run):
    """Return the models that tables about a run show: folder of the figures, and model, by name."""
    return {
        name: (str(Path(run, folder)), f"{run}/{path}")
        for name, (folder, path) in MODELS.items()
        if run in WITH_OPTIONAL or name != OPTIONAL
    }


def shown_models(run):
    """Return the files of these models."""
    paths = [path for _, path in shown(run).values()]
    return [file for path in paths for file in model_files(path)]


def shown_figures(run):
    """Return the figures and the predictions of these models."""
    folders = [folder for folder, _ in shown(run).values()]
    return expand("{folder}/{name}.json", folder=folders, name=["performance", "predictions"])


def model_files(path):
    """Return a snapshot, or the IR in a model folder."""
    return [path] if path.endswith(".pth") else model_folder(path, "xml", "bin").values()


def training_images(folder, run_settings):
    """Inputs, for `**`: the images in a run's folder that a network learns from, whole or in tiles."""
    if run_settings["tiling"]:
        return {
            "train": f"{folder}/dataset/tiles.json",
            # Their digests are in tiles.json; a copy of the folder may have a later time.
            "tiles": ancient(local(f"{folder}/dataset/tiles")),
        }
    return {"train": f"{folder}/dataset/train.json"}


def training_subset(wildcards):
    """Inputs, for `unpack`: the images that a run's network learns from."""
    return training_images(wildcards.run, settings_of(wildcards))


# Devices with which a job asks a cluster for a GPU. Training asks wherever it can use one; evaluation
# takes minutes and asks only where the configuration demands a GPU.
TRAINED_ON_GPU = {"auto", "cuda"}
EVALUATED_ON_GPU = {"cuda"}


def partition(gpu_devices=frozenset()):
    """A resource: a cluster's partition; None, which Snakemake leaves out, for its default."""

    def value(wildcards):
        settings = settings_of(wildcards)
        key = "gpu_partition" if settings["device"] in gpu_devices else "partition"
        return settings["resources"][key]

    return value


def gpus(gpu_devices, count=lambda settings: 1):
    """A resource: how many GPUs to ask a cluster for; None, which Snakemake leaves out, for none."""

    def value(wildcards):
        settings = settings_of(wildcards)
        return count(settings) if settings["device"] in gpu_devices else None

    return value
