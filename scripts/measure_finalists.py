"""Quantize the trials of the last rung, and measure accuracy and latency of their int8 models."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from detmake import logs
from detmake.artifacts import write_text
from detmake.data import subsets
from detmake.evaluation import performance, speed
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
    val, rows, models = subsets.read(Path(source.val)), [], {}
    for trial in map(Path, source.trials):
        outcome = json.loads((trial / "outcome.json").read_text(encoding="utf-8"))
        row = {"trial": trial.name, "failed": None, **outcome}
        rows.append(row)
        if row["failed"]:
            continue
        folder = Path(scratch, trial.name)
        with attempt(row):
            parameters = Parameters(**snakemake.params.pot_parameters[trial.name])
            calibration = subsets.evenly_spread(images, parameters.stat_subset_size)
            snapshot = Snapshot.load(trial / "weights.pth")
            trial_models.full(snapshot, calibration, val, parameters, folder, used)
            models[trial.name] = detectors = load_for_speed(folder, threads, used)
            best = {"result_based_confidence_threshold": True}
            figures, _ = performance.evaluate(detectors[1], val, best, f"trial {trial.name}")
            row |= {f"int8 {key}": figures[key] for key in ("f-measure", "mAP50")}
    measured = speed.read_images(speed.choose_images(Path(source.val)))
    latency = speed.measure(models, measured).latency_ms if models else {}
    for row in rows:
        row["latency_ms"] = latency.get(row["trial"])
    table = pd.DataFrame(rows).assign(measured_on=speed.machine_name(threads, used))
    write_text(Path(snakemake.output[0]), table.to_csv(index=False, float_format="%.6g"))
    log.info("Measured on %s:\n%s", speed.machine_name(threads, used), table.to_string(index=False))
