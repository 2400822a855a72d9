"""Write a configuration that suits a dataset, this machine and a wish for minutes."""

import json
import logging
import os
import time
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from detmake import logs
from detmake.artifacts import write_json, write_text
from detmake.build import own_folder
from detmake.data import subsets
from detmake.errors import InputError
from detmake.evaluation.speed import cpu
from detmake.model import device
from detmake.suggestion import choice, dataset, experiment, overhead

params, threads = snakemake.params, snakemake.threads
own = params.folder is not None and not Path(params.folder, own_folder.CONFIG).exists()
target = Path(own_folder.CONFIG if own else "suggested.yaml")
groups = Path("config/groups.csv" if own else "suggested_groups.csv")


def machine() -> experiment.Machine:
    import torch

    gpu = torch.cuda.get_device_properties(0) if device.name() == "cuda" else None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return experiment.Machine(
        cpu(threads), memory, gpu and gpu.name, gpu.total_memory if gpu else 0
    )


with logs.job(snakemake.log[0]) as log:
    for file in (target, groups):
        if file.exists():
            raise InputError(f"{file} is there, and is kept. Rename it, and call this again.")
    data = dataset.read(params.data).with_groups(groups)
    device.use(snakemake.resources.device)

    import torch

    from detmake.model import ir
    from detmake.training import cost
    from detmake.training.recipe import Recipe
    from detmake.training.schedule import validation_interval

    torch.set_num_threads(threads)
    here, sizes = machine(), choice.suitable_sizes(data.boxes(), data.image_size())
    sizes = [tuple(params.input_size)] if params.input_size else list(sizes)
    train = data.subsets["train"]
    work = choice.Work(
        train=len(train["images"]),
        val=len(data.subsets["val"]["images"]),
        test=len(data.test["images"]),
        calibration=min(len(train["images"]), params.calibration),
    )
    with TemporaryDirectory() as scratch:
        files = {name: Path(scratch, f"{name}.json") for name in ("train", "val")}
        for name, file in files.items():
            write_json(file, data.subsets[name])

        def measured(template, size, batch_size=choice.BATCH_SIZE):
            learning = params.templates[template]["learning_parameters"] | {
                "batch_size": batch_size
            }
            values = params.templates[template] | {"learning_parameters": learning}
            recipe = Recipe.from_params(
                values | {"input_size": list(size), "channel_order": None, "code": []}
            )
            found, snapshot = cost.measure(recipe, *files.values())
            log.info(
                "%s at %d×%d, batches of %d: %.3f s an iteration",
                *(template, *size, batch_size, found.iteration),
            )
            return choice.Candidate(template, tuple(size), batch_size, **asdict(found)), snapshot

        wish = 60 * params.minutes
        candidates = [measured(template, sizes[0])[0] for template in params.templates]
        template, size = choice.best(candidates, sizes, choice.EPOCHS_SHARE * wish)
        memory = here.gpu_memory or here.memory
        batch = choice.batch_size(candidates[0].memory, memory, work.train)
        # Again, since the first of all measurements warmed up the machine.
        chosen, snapshot = measured(template, size, batch)
        started = time.perf_counter()
        ir.export(snapshot, Path(scratch, "openvino"))
        rest = overhead.measure(
            Path(scratch, "openvino"),
            subsets.some_images(data.subsets["val"], cost.VALIDATED),
            subsets.evenly_spread(subsets.image_paths(train), 16),
            chosen,
            work,
            time.perf_counter() - started,
            threads,
        )
    interval = validation_interval(work.iterations(batch))
    suggestion = experiment.Suggestion(
        dataset=data,
        machine=here,
        minutes=params.minutes,
        chosen=chosen,
        measured=[one for one in candidates if one.template != template or one.input_size != size]
        + [chosen],
        work=work,
        overhead=rest,
        epochs=choice.epochs_in(wish - rest.total, chosen, work, interval),
        validation_interval=interval,
    )
    text = experiment.text(suggestion, params.copied)
    log.info("%s", json.dumps(asdict(rest)))
    if data.groups:
        write_text(groups, data.groups_csv())
    if own:
        said = own_folder.write(Path(), Path(params.workflow), params.snakefiles, text)
    else:
        write_text(target, text)
        said = [f"Wrote {target}"]
    command = "snakemake" if own else f"snakemake --configfile {target}"
    print("\n".join([text, *said, f"Next: look at {target}, then run `{command}`"]))
