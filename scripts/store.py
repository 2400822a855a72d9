"""List the store of finished trainings."""

from pathlib import Path

from tabulate import tabulate

from detmake.store import Store, size

store = Store(**snakemake.params.store)
kept = store.kept_for(*(map(Path, snakemake.params[key]) for key in ("snapshots", "notes")))
rows = [
    {
        "trained for": entry.target,
        "template": entry.template,
        "on": entry.finished,
        "minutes": f"{entry.minutes:.1f}",
        "F-measure": f"{entry.f_measure:.3f}",
        "size [MB]": f"{size(folder) / 1e6:.1f}",
        "kept for": kept.get(folder, "earlier settings"),
        "entry": folder.name[:12],
    }
    for folder, entry in store.entries().items()
]
if rows:
    print(tabulate(rows, headers="keys", disable_numparse=True))
used = f"{size(store.folder) / 1e6:.1f} MB of at most {store.limit_gb:g} GB"
print(f"Finished trainings in {store.folder}: {len(rows)}, {used}")
if not store.enabled:
    print("The store is off (store.enabled: false): it is neither read nor written")
