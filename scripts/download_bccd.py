"""Download the archive of BCCD and check what is in it."""

from pathlib import Path

from detmake import archive, bccd, logs

with logs.job(snakemake.log[0]):
    target = Path(snakemake.output.archive)
    archive.download(snakemake.params.url, target)
    bccd.verify(target, Path(snakemake.input.manifest))
