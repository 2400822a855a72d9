"""Export a snapshot to OpenVINO IR."""

from pathlib import Path

from detmake import logs
from detmake.model import ir
from detmake.model.snapshot import Snapshot

with logs.job(snakemake.log[0]) as log:
    folder = Path(snakemake.output.xml).parent
    ir.export(Snapshot.load(Path(snakemake.input.weights)), folder)
    size = sum(Path(file).stat().st_size for file in snakemake.output) / 1e6
    log.info("%s: IR of %.1f MB", folder, size)
