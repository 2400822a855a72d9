"""List what may be deleted, and delete what the key `clean` names."""

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

from tabulate import tabulate

from detmake.errors import InputError
from detmake.store import Store, size
from detmake.training import lock

params = snakemake.params
store = Store(**params.store)
kept = store.kept_for(map(Path, params.snapshots), map(Path, params.notes))
candidates = {
    "checkpoints": [
        *(Path(folder) for folder in params.checkpoints if Path(folder).is_dir()),
        *sorted(Path(params.results).glob("search/checkpoints/*/")),
    ],
    "caches": [Path(path) for path in params.caches if Path(path).exists()],
    "store": [folder for folder in store.entries() if folder not in kept],
    # Every run has this file.
    "runs": sorted(
        {file.parents[1] for file in Path(params.results).glob("*/dataset/train.json")}
        - set(map(Path, params.runs))
    ),
}
used = [Path(file).resolve() for file in params.used]
found = {
    kind: [path for path in paths if not any(file.is_relative_to(path.resolve()) for file in used)]
    for kind, paths in candidates.items()
}
meaning = {
    "checkpoints": "of an interrupted or stopped training, which would begin anew",
    "caches": "made again when needed; and Snakemake's logs",
    "store": "a training whose snapshot is in no run",
    "runs": "results of a run that the configuration does not declare",
}
rows = [
    {"kind": kind, "size [MB]": f"{size(path) / 1e6:.1f}", "path": path, "what": meaning[kind]}
    for kind, paths in found.items()
    for path in paths
]
if rows:
    print(tabulate(rows, headers="keys", disable_numparse=True))
named = [params.named] if isinstance(params.named, str) else list(params.named)
if not named:
    total = sum(size(path) for paths in found.values() for path in paths)
    print(f"Nothing is removed. In all, {total / 1e6:.1f} MB may be. To remove some, name kinds:")
    print("  snakemake clean --config 'clean=[checkpoints, caches, store, runs]'")
freed = 0
for kind in named:
    for path in found[kind]:
        before = 0 if path.is_symlink() else size(path)
        of_run = [path / name for name in params.checkpoint_folders]
        trained = {"checkpoints": [path], "runs": of_run}
        try:
            with ExitStack() as stack:
                for folder in trained.get(kind, []):
                    stack.enter_context(lock.held(folder))
                if kind == "store":
                    store.remove(path)
                elif path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        except InputError as error:
            sys.exit(f"{error}")
        freed += before
if named:
    print(f"Removed {freed / 1e6:.1f} MB: {', '.join(named)}")
