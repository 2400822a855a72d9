"""Write a report of what there is of each run, and say what is missing."""

from pathlib import Path

from detmake.artifacts import write_text
from detmake.report import page, run

for folder, provenance in snakemake.params.runs.items():
    built = run.read(Path(folder), provenance["options"])
    written = page.render(built, Path(snakemake.params.assets), provenance)
    file = Path(folder, "report-now.html")
    write_text(file, written.html)
    print(written.verdict)
    for missing in built.missing:
        print(f"Missing: {missing}")
    print(f"Report: {file}")
