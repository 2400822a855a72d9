"""Write what a folder of one's own needs, never over what is there."""

import json
from collections.abc import Sequence
from pathlib import Path

from detmake.artifacts import write_text

CONFIG = "config/config.yaml"
_PROFILE = "profiles/default/config.yaml"

_SNAKEFILE_TEXT = """\
# Snakemake reads profiles/default/config.yaml only where it finds a file of this name. While that
# profile names another file by `snakefile:`, nothing that is written here has an effect. For rules
# of your own beside detmake's, delete the line `snakefile:` in the profile, and write here:
#
# configfile: "config/config.yaml"
#
# module detmake:
#     snakefile: {snakefile}
#     config: config
#
# use rule * from detmake as detmake_*
"""

_PROFILE_TEXT = """\
# Options of `snakemake` in this folder, by the names that they have on the command line.
snakefile: {snakefile}

"""


def write(
    folder: Path, workflow: Path, snakefiles: Sequence[str], config: str | None = None
) -> list[str]:
    """Write a configuration, a profile and a Snakefile, unless they are there.

    Args:
        folder: the user's folder.
        workflow: the clone of detmake.
        snakefiles: where Snakemake looks for a Snakefile. If one is there, it stays what bare
            `snakemake` runs; it may import detmake.
        config: text of the configuration; None for the workflow's default.

    Returns:
        Sentences about what was written and what was kept.
    """
    snakefile = json.dumps(str(workflow / "Snakefile"), ensure_ascii=False)
    if config is None:
        config = (workflow / CONFIG).read_text(encoding="utf-8")
    profile = (workflow / _PROFILE).read_text(encoding="utf-8")
    own = _SNAKEFILE_TEXT.format(snakefile=snakefile)
    files, said = {CONFIG: config, _PROFILE: profile}, []
    found = [choice for choice in snakefiles if (folder / choice).exists()]
    if any((folder / choice).read_text(encoding="utf-8") != own for choice in found):
        said.append(f"Kept {found[0]}, which `snakemake` runs")
    else:
        files[_PROFILE] = _PROFILE_TEXT.format(snakefile=snakefile) + profile
        files["Snakefile"] = own
    for name, text in files.items():
        if (folder / name).exists():
            said.append(f"Kept {name}")
        else:
            write_text(folder / name, text)
            said.append(f"Wrote {name}")
    return said
