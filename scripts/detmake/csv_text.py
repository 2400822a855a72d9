"""Write tables as CSV that spreadsheets may open: they compute texts that look like formulas."""

from typing import Any

import pandas as pd

_FORMULA = ("=", "+", "-", "@")


def of_table(table: pd.DataFrame, **options: Any) -> str:
    """Return a table as CSV, with an apostrophe before texts that a spreadsheet would compute.

    Args:
        table: the table; its index and headers are checked, too.
        options: of `DataFrame.to_csv`.
    """
    return table.map(_plain).rename(index=_plain, columns=_plain).to_csv(**options)


def _plain(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
