"""Choose the trials of a rung that go on."""

import csv
import io
import json
from pathlib import Path

from detmake import logs
from detmake.artifacts import write_text
from detmake.build import halving
from detmake.errors import InputError

with logs.job(snakemake.log[0]) as log:
    source, params = snakemake.input, snakemake.params
    outcomes = {
        Path(folder).name: json.loads(Path(folder, "outcome.json").read_text(encoding="utf-8"))
        for folder in source.trials
    }
    with open(source.latency, encoding="utf-8") as file:
        latencies = halving.latencies(file)
    rows = halving.rank(outcomes, latencies, params.objective, params.at_most)
    for row in rows:
        log.info("%s", ", ".join(f"{key} {value}" for key, value in row.items() if value))
    if not any(row["outcome"] == halving.GOES_ON for row in rows):
        told = "\n".join(f"{row['trial']}: {row['failed'] or row['outcome']}" for row in rows)
        raise InputError(f"No trial of this rung can go on:\n{told}\nChange the section `search`.")
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(Path(snakemake.output[0]), text.getvalue())
