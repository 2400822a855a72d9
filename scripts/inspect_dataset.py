"""Describe the prepared subsets of a run."""

from pathlib import Path

from detmake import logs
from detmake.artifacts import staged_files, write_json, write_text
from detmake.data import statistics

with logs.job(snakemake.log[0]) as log:
    files = {Path(file).stem: Path(file) for file in snakemake.input}
    described = statistics.describe(files, snakemake.params.input_size)
    outputs = [Path(snakemake.output.json), Path(snakemake.output.md)]
    with staged_files(outputs) as scratch:
        write_json(scratch / outputs[0].name, described)
        write_text(scratch / outputs[1].name, statistics.markdown(described))
    log.info("%s describes %s", outputs[1], ", ".join(files))
