"""What the rules share: the configuration of each run, and what a rule depends on besides its files."""

import os
import re
import sys
from functools import cache
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

# Relative, so that a result stays up to date when the project moves with it.
ROOT = Path(os.path.relpath(workflow.basedir))
sys.path.insert(0, str(ROOT.resolve() / "scripts"))

from detmake.build import configuration
from detmake.data import image_digests, sources
from detmake.runtime import demo_files as demo_file_names
from detmake.build import dependencies
from detmake.errors import InputError

# The environments in envs/ are complete, but conda has pip look for dependencies, and those of
# MMDetection bring a second OpenCV, which needs system libraries. A conda file cannot say --no-deps;
# the pip that conda starts reads this.
os.environ.setdefault("PIP_NO_DEPS", "1")

# What is not a result is marked `local`: it stays here where results go to object storage (docs/storage.md).

# Keys that change how fast a result is there, not what it is: never a reason to build again.
NEUTRAL = {"num_workers"}


# Snakemake's `config` is already merged with the command line, without regard to a mapping's type.
FILE_CONFIG = {}
for path in workflow.configfiles:
    update_config(FILE_CONFIG, load_configfile(path))


def checked(function, *arguments):
    """Call the library; a mistake in the user's input becomes Snakemake's own kind of error."""
    try:
        return function(*arguments)
    except InputError as error:
        raise WorkflowError(str(error)) from None


SETTINGS = checked(
    configuration.resolve,
    FILE_CONFIG,
    workflow.config_settings.config,
    ROOT / "rules/schema.yaml",
    ROOT / "templates",
)
RESULTS = SETTINGS[""]["results"]
# Folders of a run's exported models: the IR, the int8 one after training and the one by training.
EXPORTED = ("openvino", "pot", "nncf")
# Folder of each run, by its name.
RUNS = {name: f"{RESULTS}/{name}" if name else RESULTS for name in SETTINGS}


def runs_where(condition):
    """A pattern of the folders of the runs whose settings fulfil a condition."""
    folders = [RUNS[name] for name, settings in SETTINGS.items() if condition(settings)]
    return "|".join(map(re.escape, folders)) or "(?!)"  # of none: a pattern that nothing matches


wildcard_constraints:
    # The run of the base configuration, or one of the variants that the configuration names.
    run=runs_where(lambda settings: True),
    split="train|val|test",


def settings_of(wildcards):
    return SETTINGS[wildcards.run.removeprefix(RESULTS).removeprefix("/")]


def part_of(run_settings, key):
    """A part of a run's configuration, without what does not change results."""
    part = run_settings[key]
    if isinstance(part, dict):
        return {name: item for name, item in part.items() if name not in NEUTRAL}
    return part


def settings(*keys):
    """Parameters, for `**`: the parts of a run's configuration that a rule depends on.

    A script finds each part under its key, but Snakemake compares none of them: they are functions
    of `input`. It compares, and prints where they differ, one line for each value in a part.
    """

    def part(key):
        return lambda wildcards, input: part_of(settings_of(wildcards), key)

    def line(key, name):
        def value(wildcards):
            return dependencies.lines(key, part_of(settings_of(wildcards), key)).get(name)

        return value

    parts = {key: part(key) for key in keys}
    lines = {
        f"compared {name}": line(key, name)
        for key in keys
        for run_settings in SETTINGS.values()
        for name in dependencies.lines(key, part_of(run_settings, key))
    }
    return parts | lines


# Devices of a run with which a job asks a cluster for a GPU: training wherever it can use one, what is
# done in minutes only where it may not do without.
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
    """A resource: the GPUs that a cluster is asked for; None, which is left out, for none."""

    def value(wildcards):
        settings = settings_of(wildcards)
        return count(settings) if settings["device"] in gpu_devices else None

    return value


@cache
def code_of(script):
    """Parameters, for `**`: a line for each library module that a script imports."""
    digests = dependencies.source_digests(ROOT / "scripts" / f"{script}.py")
    return {f"compared {module}": f"{module}: {digest[:16]}" for module, digest in digests.items()}


# Addresses of all runs' pretrained weights, by file name.
PRETRAINED = {
    Path(settings["pretrained"]["source"]).name: settings["pretrained"]["source"]
    for settings in SETTINGS.values()
    if settings["pretrained"] and "://" in settings["pretrained"]["source"]
}


def pretrained_weights(wildcards):
    """The input file that a run's training starts from, where it does not start from scratch."""
    pretrained = settings_of(wildcards)["pretrained"]
    if not pretrained:
        return {}
    source = pretrained["source"]
    if "://" in source:
        return {"downloaded": local(f"resources/pretrained/{Path(source).name}")}
    return {"pretrained": local(source)}


def sources_of(wildcards):
    """Annotation file and image folder of each subset of a run's data."""
    return checked(sources.locate, settings_of(wildcards)["data"])


def source_of(wildcards):
    """Annotation file and image folder of one subset."""
    return sources_of(wildcards)[wildcards.split]


@cache
def deployed_code():
    """The modules of the library that a deployed model needs."""
    scripts = ROOT / "scripts"
    modules = dependencies.imported_modules(scripts / "deployed/demo.py", scripts)
    return [os.path.relpath(file) for file in modules.values()]


@cache
def changed_images(folder):
    """A parameter: the state of an image folder, without a place in the rule's input files."""
    digest = checked(image_digests.changed_images, folder, Path(".snakemake/image_digests"))
    return digest and f"images in {folder}: {digest[:16]}"


def evaluated_subset(wildcards):
    """The prepared subset that models of a run are measured on."""
    return f"{wildcards.run}/dataset/{settings_of(wildcards)['evaluation']['subset']}.json"


def demo_model(file):
    """A file of the model that a run's demo shows."""
    return lambda wildcards: f"{wildcards.run}/{settings_of(wildcards)['demo']['model']}/{file}"


def demo_files(wildcards):
    """The files that a run's demo looks at, or the subset whose images it looks at."""
    source = settings_of(wildcards)["demo"]["source"]
    if source is None:
        return {"subset": evaluated_subset(wildcards)}
    if demo_file_names.is_camera(source):
        return {}
    return {"files": local(checked(demo_file_names.files_of, source))}


def lacks_test(wildcards):
    """Whether the data has no test subset, so that val serves in its place."""
    sources = sources_of(wildcards)
    return sources["test"] == sources["val"]


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
