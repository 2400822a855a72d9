"""Write a configuration that suits a dataset, this machine and a wish for minutes."""

import time
from dataclasses import asdict
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from detmake import logs
from detmake.artifacts import write_json, write_text
from detmake.build import own_folder
from detmake.errors import InputError
from detmake.evaluation.speed import machine_name
from detmake.model import device
from detmake.suggestion import choice, dataset, experiment, search
from detmake.suggestion.machine import Machine, total_memory

params, threads = snakemake.params, snakemake.threads
own = params.folder is not None and not Path(params.folder, own_folder.CONFIG).exists()
target = Path(own_folder.CONFIG if own else "suggested.yaml")
groups = Path("config/groups.csv" if own else "suggested_groups.csv")


def refuse_to_replace(file: Path) -> None:
    """Stop if a file is there that this would write."""
    if file.exists():
        raise InputError(f"{file} is there, and is kept. Rename it, and call this again.")


with logs.job(snakemake.log[0]) as log, TemporaryDirectory() as scratch:
    refuse_to_replace(target)
    started = time.perf_counter()
    data = dataset.read(params.data).with_groups(groups)
    checked = time.perf_counter() - started
    if data.groups:
        refuse_to_replace(groups)
    device.use(snakemake.resources.device)

    import torch

    from detmake.model import ir
    from detmake.training import cost
    from detmake.training.recipe import Recipe
    from detmake.training.schedule import validation_interval

    torch.set_num_threads(threads)
    machine = Machine(machine_name(threads), total_memory(), *device.memory())
    train, val = files = [Path(scratch, f"{name}.json") for name in ("train", "val")]
    for file in files:
        write_json(file, data.subsets[file.stem])
    snapshots = []

    def measure(template: str, size: tuple[int, int], batch_size: int) -> choice.Candidate:
        """Train a template for a few iterations."""
        settings = params.templates[template] | {"input_size": list(size)}
        settings["learning_parameters"] |= {"batch_size": batch_size}
        recipe = Recipe.from_params({**settings, "channel_order": None, "code": []})
        found, snapshot = cost.measure(recipe, train, val)
        snapshots[:] = [snapshot]
        log.info("%s at %d×%d: %.3f s an iteration", template, *size, found.iteration)
        published = settings["pretrained"] is not None
        return choice.Candidate(template, size, batch_size, **asdict(found), has_weights=published)

    def export() -> Path:
        """Export what was trained last."""
        ir.export(snapshots[0], Path(scratch, "openvino"))
        return Path(scratch, "openvino")

    suggestion = search.search(
        data,
        machine,
        params.minutes,
        list(params.templates),
        params.input_size and tuple(params.input_size),
        params.calibration,
        measure,
        export,
        validation_interval,
        checked,
        threads,
    )
    log.info("Besides the epochs, in seconds: %s", suggestion.overhead)
    text = experiment.text(suggestion, params.copied)
    if data.groups:
        write_text(groups, data.groups_csv())
    if own:
        said = own_folder.write(Path(), Path(params.workflow), params.snakefiles, text)
    else:
        write_text(target, text)
        said = [f"Wrote {target}"]
    command = "snakemake" if own else f"snakemake --configfile {target}"
    if not own and "results" not in params.copied:  # what is built stays
        names = (f"results_{number}" for number in count(2))
        command += f" --config results={next(name for name in names if not Path(name).exists())}"
    print("\n".join([text, *said, f"Next: look at {target}, then run `{command}`"]))
