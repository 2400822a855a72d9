"""Measure the latency of the int8 models of a search's trials; alike networks only once."""

import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from detmake import logs
from detmake.artifacts import write_text
from detmake.data import subsets
from detmake.evaluation import speed
from detmake.model import device
from detmake.quantization.post_training import Parameters
from detmake.runtime.inference import check_device
from detmake.training.attempt import attempt

with logs.job(snakemake.log[0]) as log, TemporaryDirectory() as scratch:
    device.use("cpu")

    from detmake.model.loader import load_for_speed
    from detmake.model.snapshot import Snapshot
    from detmake.training import trial_models

    source, threads = snakemake.input, snakemake.threads
    used = snakemake.params.inference_device
    check_device(used)  # a machine without it is no failure of a trial
    images = subsets.image_paths(subsets.read(Path(source.train)))
    rows, models = [], {}
    for trial in map(Path, source.trials):
        row = {"trial": trial.name, "latency_ms": None, "failed": None, "network": None}
        rows.append(row)
        if not (trial / "weights.pth").exists():
            continue
        snapshot = Snapshot.load(trial / "weights.pth")
        parameters = Parameters(**snakemake.params.pot_parameters[trial.name])
        network = json.dumps([snapshot.model, snapshot.input_size, asdict(parameters)])
        with attempt(row):
            if network not in models:
                folder = Path(scratch, trial.name)
                trial_models.brief(snapshot, images, parameters, folder)
                models[network] = load_for_speed(folder, threads, used)
            row["network"] = network
    measured = speed.read_images(speed.choose_images(Path(source.val)))
    latency = speed.measure(models, measured).latency_ms if models else {}
    for row in rows:
        row["latency_ms"] = latency.get(row.pop("network"))
    table = pd.DataFrame(rows).assign(measured_on=speed.machine_name(threads, used))
    write_text(Path(snakemake.output[0]), table.to_csv(index=False, float_format="%.4g"))
    log.info("Measured on %s:\n%s", speed.machine_name(threads, used), table.to_string(index=False))
