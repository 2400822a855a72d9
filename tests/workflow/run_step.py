"""Run the script of a rule without Snakemake on the path.

Usage, in a project's folder: `python run_step.py JOB`; test_envs.py records the JSON file JOB.
"""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace


class Items(list):
    """Values by position, and some by name."""

    def __init__(self, values: list, names: dict) -> None:
        super().__init__(values)
        self.get, self.items = names.get, names.items
        self.__dict__.update(names)


job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
lists = {name: Items(**content) for name, content in job["lists"].items()}
sys.path.insert(0, "scripts")
runpy.run_path(
    f"scripts/{job['script']}",
    init_globals={"snakemake": SimpleNamespace(**lists, threads=job["threads"])},
    run_name="__main__",
)
