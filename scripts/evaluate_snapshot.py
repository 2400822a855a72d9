"""Evaluate a snapshot with MMDetection."""

from pathlib import Path

from detmake import logs
from detmake.artifacts import staged_files, write_json
from detmake.data import subsets
from detmake.evaluation import performance, predictions
from detmake.model import device
from detmake.runtime.figures import subject

with logs.job(snakemake.log[0]) as log:
    device.use(snakemake.resources.device)

    import torch

    from detmake.model.detector import SnapshotDetector
    from detmake.model.snapshot import Snapshot

    torch.set_num_threads(snakemake.threads)
    weights, subset = Path(snakemake.input.weights), Path(snakemake.input.subset)
    figures, found = performance.evaluate(
        SnapshotDetector(Snapshot.load(weights)),
        subsets.read(subset),
        snakemake.params.postprocessing,
        "snapshot",
    )
    with staged_files([Path(file) for file in snakemake.output]) as scratch:
        predictions.write(scratch / "predictions.json", found)
        figures |= subject([weights], subset, scratch / "predictions.json", device.name())
        write_json(scratch / "performance.json", figures)
    log.info(performance.in_words(str(weights), figures))
