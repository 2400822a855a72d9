"""Pack a model folder and the code that runs it into an archive."""

from pathlib import Path

from detmake import logs
from detmake.build import deployment

source = snakemake.input
with logs.job(snakemake.log[0]) as log:
    archive = Path(snakemake.output[0])
    deployment.write_archive(
        archive,
        Path(source.xml).parent,
        demo=Path(source.demo),
        modules=map(Path, source.modules),
        readme=Path(source.readme),
        lock=Path(source.lock),
        license=Path(source.license),
    )
    log.info("%s: %.1f MB", archive, archive.stat().st_size / 1e6)
