"""Print the table of templates."""

from pathlib import Path

from detmake.model import template_table

print(template_table.table([Path(file) for file in snakemake.input]).to_string(index=False))
