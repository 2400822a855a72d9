"""Write the table and the picture of a search, and the configuration of the best trial."""

from pathlib import Path

import pandas as pd

from detmake import logs
from detmake.artifacts import write_text
from detmake.report import search

with logs.job(snakemake.log[0]) as log:
    source, output, params = snakemake.input, snakemake.output, snakemake.params
    as_text = {"trial": str}
    rankings = [pd.read_csv(file, dtype=as_text) for file in source.rankings]
    finalists = pd.read_csv(source.finalists, dtype=as_text)
    table = search.table(params.search, params.drawn, rankings, finalists)
    best = search.best(table)
    objective, measured_on = params.search["objective"], finalists["measured_on"].iloc[0]
    files = [Path(file) for file in (output.csv, output.md, output.svg)]
    search.write(table, objective, *files, measured_on)
    row, content, file = table.iloc[0], params.configurations[best], Path(output.best)
    write_text(file, search.configuration(row, content, params.search, file, measured_on))
    log.info("The trials:\n%s", search.markdown(table))
    log.info("Wrote %s, trial %s", file, best)
