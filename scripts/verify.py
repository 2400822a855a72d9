"""Check that the figures of a results folder speak of the models and annotations in it."""

import shlex
import sys
from pathlib import Path

from detmake.runtime.figures import misfit

folder = Path(snakemake.params.folder)
# Of the base run's snapshot, of its exported models, and of the same in each other run.
found = sorted(
    file for depth in ("", "*/", "*/*/") for file in folder.glob(f"{depth}performance.json")
)
problems = {file: misfit(file) for file in found}
for file, problem in problems.items():
    print(f"{file}: {problem or 'ok'}")
if not found:
    sys.exit(f"{folder}: found no performance.json, expected a results folder")
if wrong := [file for file, problem in problems.items() if problem]:
    remedy = "Copy the whole folder again, or measure again in the project that it comes from"
    if folder == Path(snakemake.params.own):
        command = ["snakemake", "-f", str(wrong[0]), *snakemake.params.options]
        remedy = f"To measure again: {shlex.join(command)}"
    sys.exit(f"{len(wrong)} of {len(found)} do not fit. {remedy}")
