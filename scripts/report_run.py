"""Write the report of a run, and its suspected label errors."""

from pathlib import Path

from detmake import csv_text, logs
from detmake.artifacts import staged_files, write_json, write_text
from detmake.evaluation import label_errors
from detmake.report import page, run

with logs.job(snakemake.log[0]) as log:
    output = snakemake.output
    built = run.read(Path(output.html).parent, snakemake.params.provenance["options"])
    written = page.render(
        built, Path(snakemake.input.assets[0]).parent, snakemake.params.provenance
    )
    with staged_files([Path(file) for file in output]) as scratch:
        write_text(scratch / "report.html", written.html)
        write_text(scratch / "suspects.csv", csv_text.of_table(written.suspects, index=False))
        write_json(scratch / "suspects.json", label_errors.as_coco(written.suspects, built.coco))
    log.info("%s\nReport: %s", written.verdict, output.html)
