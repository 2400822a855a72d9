"""Download the BCCD archive and verify its files."""

from pathlib import Path

from detmake import logs
from detmake.data import bccd
from detmake.data.download import download

with logs.job(snakemake.log[0]):
    target = Path(snakemake.output.archive)
    download(
        snakemake.params.url,
        target,
        remedy=f"Try again later, put the file at {target} by hand, or set `data` to a folder that "
        "already holds the dataset.",
    )
    bccd.verify(target, Path(snakemake.params.manifest))
