"""Download the archive of BCCD and check what is in it."""

from pathlib import Path

from detmake import logs
from detmake.data import bccd
from detmake.data.download import download

with logs.job(snakemake.log[0]):
    target = Path(snakemake.output.archive)
    download(
        snakemake.params.url,
        target,
        remedy=f"Try again later; or put that file at {target} by hand; or point the `data` key at "
        "a folder that already holds the data set.",
    )
    bccd.verify(target, Path(snakemake.input.manifest))
