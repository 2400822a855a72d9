"""Download a published checkpoint and verify the digest in its name."""

from pathlib import Path

from detmake import logs
from detmake.data.download import download, verify_digest

with logs.job(snakemake.log[0]):
    target = Path(snakemake.output[0])
    download(
        snakemake.params.url,
        target,
        remedy=f"Try again later, put the file at {target} by hand, or set `pretrained: null` to "
        "train from scratch.",
    )
    verify_digest(target)
