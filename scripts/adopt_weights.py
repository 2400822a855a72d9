"""Use finished weights instead of training a detector."""

from pathlib import Path

from detmake import logs
from detmake.artifacts import write_confidence_threshold, write_label_schema
from detmake.model import device

with logs.job(snakemake.log[0]):
    device.use(snakemake.resources.device)

    import torch

    from detmake.data import subsets
    from detmake.model import finished_weights
    from detmake.training.validation import with_best_threshold

    torch.set_num_threads(snakemake.threads)
    params = snakemake.params
    found = finished_weights.adopt(
        Path(snakemake.input.weights),
        params["model"],
        params["input_size"],
        {"id": params["id"], "name": params["name"]},
        subsets.read(Path(snakemake.input.train)),
    )
    adopted, _ = with_best_threshold(found, subsets.read(Path(snakemake.input.val)))
    output = snakemake.output
    write_label_schema(Path(output.label_schema), adopted.labels)
    write_confidence_threshold(Path(output.confidence_threshold), adopted.confidence_threshold)
    adopted.save(Path(output.weights))
    for file in params["record"]:
        Path(file).unlink(missing_ok=True)
