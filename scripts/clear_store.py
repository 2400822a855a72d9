"""Remove all entries of the store of finished trainings."""

from detmake.store import Store, size

store = Store(**snakemake.params.store)
freed = size(store.folder)
store.clear()
print(f"Removed {freed / 1e6:.1f} MB from {store.folder}")
