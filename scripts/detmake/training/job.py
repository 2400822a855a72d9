"""A training as a job of the build: restored from the store, or trained and stored."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from detmake.data.download import verify_digest
from detmake.model import device
from detmake.store import Entry, Store, describe
from detmake.training import finished, previous
from detmake.training.fingerprint import fingerprint, has_course
from detmake.training.recipe import Recipe


def produce(
    params: Mapping[str, Any],
    source: Mapping[str, str],
    made: Sequence[Path],
    checkpoints: Path,
    target: str,
    note: Path,
    on: Mapping[str, Any],
    threads: int,
) -> Entry:
    """Make the outputs of a training, from the store of finished trainings if it has them.

    Args:
        params: what the result depends on (`Recipe.from_params`), and the settings `store`.
        source: files by what they are: the prepared subsets `train` and `val`, and weights to start
            from, `pretrained` or `downloaded`, if any.
        made: the outputs, named as `TrainingResult.write` does.
        checkpoints: as for `detmake.training.train.train`. They stay if the training is to stop
            before its last epoch.
        target: names the training in the store.
        note: receives what `detmake.store.describe` writes; it may hold that of the last training.
        on: the machine: `device`, `processes` and `num_workers`.
        threads: threads of torch.

    Raises:
        InputError: as for `detmake.training.train.train`; or there is no such device.
    """
    started = time.monotonic()
    if downloaded := source.get("downloaded"):
        verify_digest(Path(downloaded))  # a user may have put the file there by hand
    pretrained = downloaded or source.get("pretrained")
    recipe, store = Recipe.from_params(params), Store(**params["store"])

    def files(start: str | Path | None) -> list[Path]:
        """Return the files that a training from some weights, or from scratch, depends on."""
        return [Path(file) for file in (source["train"], source["val"], start) if file]

    if params["pretrained"] == "previous":
        pretrained = previous.start(
            store,
            target,
            note,
            lambda start: fingerprint(recipe, files(start)),
            lambda start: has_course(checkpoints, fingerprint(recipe.course(), files(start))),
        )
    used = files(pretrained)
    identity, course = fingerprint(recipe, used), fingerprint(recipe.course(), used)
    goes_on = recipe.learning_parameters.stop_after is not None
    with finished.outputs(made, store, identity, checkpoints, course, goes_on) as (folder, stored):
        if stored is None:
            device.use(on["device"], on["processes"])

            import torch

            from detmake.training.train import train

            torch.set_num_threads(threads)
            result = train(
                recipe,
                *used[:2],
                checkpoints,
                num_workers=on["num_workers"],
                pretrained=pretrained and Path(pretrained),
                processes=on["processes"],
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
    describe(note, identity, entry, made)
    finished.warn_if_useless(entry.f_measure, recipe.learning_parameters)
    return entry
