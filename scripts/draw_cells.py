"""Draw one subset of the embedded dataset."""

from pathlib import Path

from detmake import data_source, logs, synthetic

with logs.job(snakemake.log[0]):
    folder = Path(snakemake.output.annotations).parent
    synthetic.write_subset(folder, snakemake.wildcards.subset)
    data_source.record_pristine(folder)
