"""What the rules share: the configuration of each run, and what a rule depends on besides its files."""

import re
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "scripts"))

from detmake import config as configuration
from detmake import data_source, provenance
from detmake.errors import InputError

# `snakemake --lint` asks for a conda environment of each rule. All rules run in the one environment that
# requirements.txt locks, which needs no conda.

# Keys that change how fast a result is there, not what it is: never a reason to build again.
NEUTRAL = {"num_workers"}


def checked(function, *arguments):
    """Call the library; a mistake in the user's input becomes Snakemake's own kind of error."""
    try:
        return function(*arguments)
    except InputError as error:
        raise WorkflowError(str(error)) from None


SETTINGS = checked(
    configuration.resolve,
    config,
    workflow.config_settings.config,
    ROOT / "config/schema.yaml",
    ROOT / "config/templates",
)
RESULTS = SETTINGS[""]["results"]


wildcard_constraints:
    # The run of the base configuration, or one of the variants that the configuration names.
    run="|".join(re.escape(f"{RESULTS}/{name}" if name else RESULTS) for name in SETTINGS),
    split="train|val|test",


def settings_of(wildcards):
    return SETTINGS[wildcards.run.removeprefix(RESULTS).removeprefix("/")]


def setting(key):
    """A parameter: the part of a run's configuration that a rule depends on."""

    def value(wildcards):
        part = settings_of(wildcards)[key]
        if isinstance(part, dict):
            return {name: item for name, item in part.items() if name not in NEUTRAL}
        return part

    return value


@cache
def code_of(script):
    """A parameter: digest of the library modules that a script imports."""
    return provenance.source_digest(ROOT / "scripts" / f"{script}.py")


def sources_of(wildcards):
    """Annotation file and image folder of each subset of a run's data."""
    return checked(data_source.locate, settings_of(wildcards)["data"])


def source_of(wildcards):
    """Annotation file and image folder of one subset."""
    return sources_of(wildcards)[wildcards.split]


@cache
def changed_images(folder):
    """A parameter: the state of an image folder, without a place in the rule's input files."""
    return checked(data_source.changed_images, folder, Path(".snakemake/image_digests.json"))


def evaluated_subset(wildcards):
    """The prepared subset that models of a run are measured on."""
    return f"{wildcards.run}/dataset/{settings_of(wildcards)['evaluation']['subset']}.json"


def lacks_test(wildcards):
    """Whether the data has no test subset, so that val serves in its place."""
    sources = sources_of(wildcards)
    return sources["test"] == sources["val"]
