"""Train a detector, unless the store of finished trainings has it."""

import time
from dataclasses import replace
from pathlib import Path

from detmake import logs
from detmake.data.download import verify_digest
from detmake.model import device
from detmake.store import Entry, Store, describe
from detmake.training import finished, lock, previous
from detmake.training.fingerprint import fingerprint
from detmake.training.recipe import Recipe

checkpoints = Path(snakemake.resources.checkpoints)

with logs.job(snakemake.log[0], lock=lock.held(checkpoints)):
    started, source = time.monotonic(), snakemake.input
    if downloaded := source.get("downloaded"):
        verify_digest(Path(downloaded))  # a user may have put the file there by hand
    pretrained = downloaded or source.get("pretrained")
    params = dict(snakemake.params.items())
    recipe, store = Recipe.from_params(params), Store(**params["store"])
    target = f"{snakemake.wildcards.run}/weights.pth"

    def identity_from(start):
        """Return the identity of the training from a file of weights, or from scratch."""
        return fingerprint(recipe, [Path(f) for f in (source.train, source.val, start) if f])

    if params["pretrained"] == "previous":
        pretrained = previous.start(store, target, identity_from)
    identity = identity_from(pretrained)
    made = [Path(file) for file in snakemake.output]
    with finished.outputs(made, store, identity, checkpoints, identity) as (folder, stored):
        if stored is None:
            device.use(snakemake.resources.device, snakemake.resources.processes)

            import torch

            from detmake.training.train import train

            torch.set_num_threads(snakemake.threads)
            result = train(
                recipe,
                Path(source.train),
                Path(source.val),
                checkpoints,
                num_workers=snakemake.resources.num_workers,
                pretrained=pretrained and Path(pretrained),
                processes=snakemake.resources.processes,
            )
            result.write(folder)
            entry = Entry(
                target=target,
                template=recipe.name,
                f_measure=result.snapshot.f_measure,
                minutes=(time.monotonic() - started) / 60,
            )
            store.save(identity, entry, folder)
        else:
            entry = replace(stored, template=recipe.name)
            if entry != stored:
                from detmake.model.snapshot import Snapshot

                snapshot = Snapshot.load(folder / "weights.pth")
                named = replace(snapshot, template={"id": recipe.id, "name": recipe.name})
                named.save(folder / "weights.pth")
    describe(Path(snakemake.log[0]).with_suffix(".json"), identity, entry, made)
    finished.warn_if_useless(entry.f_measure, recipe.learning_parameters)
