"""Train a trial of a search in one of its rungs. If it fails, its outcome says why."""

from pathlib import Path

from detmake import logs
from detmake.artifacts import write_json
from detmake.model import device
from detmake.training import job, lock
from detmake.training.attempt import attempt

FILES = ["weights.pth", "label_schema.json", "confidence_threshold", "scalars.csv", "per_class.csv"]

checkpoints, log_file = Path(snakemake.resources.checkpoints), Path(snakemake.log[0])
folder = Path(snakemake.output[0])

with logs.job(log_file, lock=lock.held(checkpoints)):
    params, outcome = dict(snakemake.params.items()), {}
    # A machine without the device is no failure of the trial.
    device.use(snakemake.resources.device, snakemake.resources.processes)
    with attempt(outcome):
        entry = job.produce(
            params | {"code": params["trained_by"]},
            dict(snakemake.input.items()),
            [folder / file for file in FILES],
            checkpoints,
            f"{folder}/weights.pth",
            log_file.with_suffix(".json"),
            dict(snakemake.resources.items()),
            snakemake.threads,
        )

        import pandas as pd

        scalars = pd.read_csv(folder / "scalars.csv").query("kind == 'validation'")
        chosen = scalars.loc[scalars["f-measure"].idxmax()]
        outcome |= {
            "f-measure": entry.f_measure,
            "mAP50": float(chosen["mAP50"]),
            "epochs": int(scalars["step"].max()),
            "minutes": entry.minutes,
        }
    write_json(folder / "outcome.json", outcome)
