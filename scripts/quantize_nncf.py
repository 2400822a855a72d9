"""Quantize a snapshot by quantization-aware training, unless the store has it, and export it."""

import json
import time
from dataclasses import replace
from pathlib import Path

from detmake import logs
from detmake.model import device
from detmake.runtime import figures
from detmake.store import Entry, Store, describe
from detmake.training import finished, lock
from detmake.training.fingerprint import fingerprint

checkpoints = Path(snakemake.resources.checkpoints)

with logs.job(snakemake.log[0], lock=lock.held(checkpoints)) as log:
    device.use(snakemake.resources.device)

    import torch

    from detmake.quantization.budget import Budget
    from detmake.training.quantization_aware import QuantizationAwareRecipe, quantize

    torch.set_num_threads(snakemake.threads)
    started, params = time.monotonic(), dict(snakemake.params.items())
    recipe, store = QuantizationAwareRecipe.from_params(params), Store(**params["store"])
    source = snakemake.input
    files = [Path(source.weights), Path(source.train), Path(source.val)]
    # What to do beyond the budget does not change the training. The drop depends on the CPU.
    instructions = figures.cpu()["int8_instructions"]
    identity = fingerprint(
        replace(recipe, on_degradation=""), files, int8_instructions=instructions
    )
    course = fingerprint(recipe.course(), files)
    made = [Path(file) for file in snakemake.output]
    with finished.outputs(made, store, identity, checkpoints, course) as (folder, stored):
        if stored is None:
            workers = snakemake.resources.num_workers
            snapshot, is_repeatable = quantize(
                files[0], recipe, *files[1:], checkpoints, folder, workers
            )
            snapshot.save(folder / "weights.pth")
            entry = Entry(
                target=f"{snakemake.wildcards.run}/nncf/weights.pth",
                template=snapshot.template["name"],
                f_measure=snapshot.f_measure,
                minutes=(time.monotonic() - started) / 60,
            )
            if is_repeatable:
                store.save(identity, entry, folder)
            else:
                log.info("Not stored: with this budget, an earlier epoch would have been the last")
        else:
            entry, is_repeatable = stored, True
        description = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        budget, f_measure = Budget.described(description["quantization"])
        budget.enforce(f_measure, recipe.on_degradation, "nncf_optimization")
    if is_repeatable:
        describe(Path(snakemake.log[0]).with_suffix(".json"), identity, entry, made)
    log.info("%s: %s", made[0].parent, budget.report(f_measure))
