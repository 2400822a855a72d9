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


def keep_records():
    """Write the records of the results. A failure is only a warning: the results are complete."""
    try:
        paths = map(str, Path(RESULTS).rglob("*"))
        records = {path: workflow.persistence._read_record(path) for path in paths}
        records = {path: record.model_dump() for path, record in records.items() if record}
        if records:
            provenance.write(PROVENANCE, records)
            write_text(KNOWN, sha256(PROVENANCE))
    except OSError as error:
        logger.warning(f"{PROVENANCE}: cannot be written ({error})")


def restore_records():
    """Give Snakemake the records that came with the results."""
    if KNOWN.exists() and KNOWN.read_text() == sha256(PROVENANCE):
        return
    recorded = FilePersistence()
    for path, record in provenance.read(PROVENANCE).items():
        record["input"].sort()  # as Snakemake compares it; the folder may have another name
        recorded._write_record(path, MetadataRecord(**record))
    write_text(KNOWN, sha256(PROVENANCE))


in_files = workflow.workflow_settings.persistence_backend == PersistenceBackend.FILE
if workflow.is_main_process and in_files and PROVENANCE.exists():
    checked(restore_records)


# Snakemake calls these of the main Snakefile only, not those of a module.
onsuccess:
    keep_records()


onerror:
    keep_records()
