"""Names of classes and files in CSV, Markdown and pictures: they stay text."""

import io

import numpy as np
import pandas as pd
import pytest

from detmake import csv_text
from detmake.data import statistics
from detmake.detections import Detections
from detmake.markdown_text import escaped
from detmake.runtime import drawing

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://x")']
PLAIN = ["cell", "1-1", "'quoted'", 'say "x", y', "two\nlines"]


def test_a_spreadsheet_computes_no_text_of_a_csv_file():
    names = [*FORMULAS, *PLAIN]
    table = pd.DataFrame({"=header": names, "score": -1.5}, index=names)
    found = pd.read_csv(io.StringIO(csv_text.of_table(table)), index_col=0)
    assert list(found.columns) == ["'=header", "score"]
    expected = [f"'{name}" for name in FORMULAS] + PLAIN
    assert list(found.index) == list(found["'=header"]) == expected
    assert (found.score == -1.5).all()


@pytest.mark.parametrize(
    ("name", "markdown"),
    [
        ("<script>", r"\<script\>"),
        ("a|b", r"a\|b"),
        ("[x](javascript:y)", r"\[x\](javascript:y)"),
        ("`code`", r"\`code\`"),
        ("&nbsp;", r"\&nbsp;"),
        ("red_cell 2", "red_cell 2"),
    ],
)
def test_names_in_markdown(name, markdown):
    assert escaped(name) == markdown
    table = statistics._table([{"class": name, "boxes": 3}])
    assert f"| {markdown} " in table


@pytest.mark.parametrize("name", ["n" * 300, "血\u202eדם", "\U0001f9a0", ""])
def test_any_name_can_be_drawn(name):
    found = Detections(np.float32([[5, 5, 40, 30]]), np.float32([0.9]), np.array([0]))
    picture = drawing.draw(np.zeros((48, 64, 3), np.uint8), found, [name])
    assert picture.any()
    assert drawing.tile(picture, name).shape == (324, 400, 3)
