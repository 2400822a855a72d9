"""Provenance: Snakemake's records of the results are kept beside them, too.

Snakemake has them in `.snakemake/`. It takes a result without a record as it is, whatever the
configuration says, and a restored one for the one that was there before.
"""

from snakemake.persistence import MetadataRecord
from snakemake.persistence.file import FilePersistence
from snakemake.settings.types import PersistenceBackend

from detmake.artifacts import sha256, write_text
from detmake.build import provenance

PROVENANCE = Path(RESULTS, "provenance.json")
# The digest of the last such file that was written or read here. Another one came with its results.
KNOWN = Path(".snakemake/provenance", PROVENANCE)


def keep_records(recorded):
    """Write the records of the results. A failure is only a warning: the results are complete."""
    recorded._clear_cache()  # it remembers that the last outputs had no record before
    # Files of a run, and of its folders, which may be links.
    paths = [str(path) for depth in ("*", "*/*", "*/*/*") for path in Path(RESULTS).glob(depth)]
    # A job that was killed may have written outputs that have the records of earlier ones.
    paths = set(paths) - recorded._filter_incomplete_keys(paths)
    records = {path: record for path in paths if (record := recorded._read_record(path))}
    try:
        if records:
            records = {path: record.model_dump() for path, record in records.items()}
            provenance.write(PROVENANCE, records)
            write_text(KNOWN, sha256(PROVENANCE))
    except OSError as error:
        logger.warning(f"{PROVENANCE}: cannot be written ({error})")


def restore_records():
    """Give Snakemake the records that came with the results."""
    recorded = FilePersistence()
    for path, record in provenance.read(PROVENANCE).items():
        record["input"].sort()  # as Snakemake compares it; the folder may have another name
        recorded._write_record(path, MetadataRecord(**record))
    write_text(KNOWN, sha256(PROVENANCE))


def mark_finished_weights():
    """Let a training replace weights that were given.

    Snakemake compares the records of a job only if all its outputs have one, and the curves of a
    training have none where the weights were given.
    """
    for name, run in RUNS.items():
        has_curves = Path(run, "logs/scalars.csv").exists()
        if has_curves or SETTINGS[name]["weights"] or not Path(run, "weights.pth").exists():
            continue  # FilePersistence makes folders
        recorded = FilePersistence()
        record = recorded._read_record(f"{run}/weights.pth")
        if record and record.rule.endswith("adopt_weights"):
            for curves in ("scalars", "per_class"):
                recorded._write_record(f"{run}/logs/{curves}.csv", record)


def has_unkept_records():
    """Return whether jobs ran since the records were written: Snakemake was killed, for example."""
    jobs = Path(".snakemake/incomplete")  # each job has a file here while it runs
    return jobs.exists() and (
        not KNOWN.exists() or KNOWN.stat().st_mtime_ns < jobs.stat().st_mtime_ns
    )


in_files = workflow.workflow_settings.persistence_backend == PersistenceBackend.FILE
if workflow.is_main_process and in_files:
    if PROVENANCE.exists() and not (KNOWN.exists() and KNOWN.read_text() == sha256(PROVENANCE)):
        checked(restore_records)
    elif has_unkept_records():
        keep_records(FilePersistence())
    mark_finished_weights()


# Snakemake calls these of the main Snakefile only. Those of a module are written at the next call.
onsuccess:
    keep_records(workflow.persistence)


onerror:
    keep_records(workflow.persistence)
