"""Train a detector, unless the store of finished trainings has it."""

from pathlib import Path

from detmake import logs
from detmake.training import job, lock

checkpoints, log_file = Path(snakemake.resources.checkpoints), Path(snakemake.log[0])

with logs.job(log_file, lock=lock.held(checkpoints)):
    job.produce(
        dict(snakemake.params.items()),
        dict(snakemake.input.items()),
        [Path(file) for file in snakemake.output],
        checkpoints,
        f"{snakemake.wildcards.run}/weights.pth",
        log_file.with_suffix(".json"),
        dict(snakemake.resources.items()),
        snakemake.threads,
    )
