"""Provenance: Snakemake's records of the results are kept beside them, too.

Snakemake has them in `.snakemake/`. Without a record, it takes a result as it is, whatever the
configuration says.
"""

from snakemake.persistence import MetadataRecord
from snakemake.persistence.file import FilePersistence
from snakemake.settings.types import PersistenceBackend

from detmake.build import provenance

PROVENANCE = Path(RESULTS, "provenance.json")


def keep_records():
    """Write the records of the results."""
    files = [str(file) for file in Path(RESULTS).rglob("*") if file.is_file()]
    records = {file: workflow.persistence._read_record(file) for file in files}
    records = {file: record.model_dump() for file, record in records.items() if record}
    if records:
        provenance.write(PROVENANCE, records)


def restore_records():
    """Give Snakemake back the records that it lacks."""
    recorded = FilePersistence()
    lost = checked(
        provenance.lost, PROVENANCE, lambda file: recorded._read_record(file) is not None
    )
    for file, record in lost.items():
        record["input"].sort()  # as Snakemake compares it; the folder may have another name
        recorded._write_record(file, MetadataRecord(**record))


in_files = workflow.workflow_settings.persistence_backend == PersistenceBackend.FILE
if workflow.is_main_process and in_files and PROVENANCE.exists():
    restore_records()


# Snakemake calls these of the main Snakefile only, not those of a module.
onsuccess:
    keep_records()


onerror:
    keep_records()
