"""The end of a search: table, picture and configuration, by hand."""

from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
import yaml

from detmake.errors import InputError
from detmake.report import search as searches

RATE = "learning_parameters.learning_rate"
SEARCH = {"objective": "f-measure", "rungs": [2, 6], "space": {RATE: []}, "at_most": {}}
DRAWN = {name: {RATE: rate} for name, rate in zip("abcde", (1, 2, 3, 4, 5), strict=True)}
RANKING = pd.DataFrame(
    {
        "trial": list("abcde"),
        "outcome": ["goes on", "goes on", "goes on", "stopped", "failed"],
        "f-measure": [0.6, 0.5, 0.4, 0.3, None],
        "epochs": [2, 2, 2, 2, None],
        "latency_ms": [4.0, 5.0, 6.0, 3.0, None],
        "minutes": [1.0, 1.0, 1.0, 1.0, None],
        "failed": [None, None, None, None, "it diverged"],
    }
)
FINALISTS = pd.DataFrame(
    {
        "trial": list("abc"),
        "f-measure": [0.70, 0.90, 0.95],
        "int8 f-measure": [0.69, 0.89, 0.94],
        "epochs": [6, 6, 6],
        "latency_ms": [4.5, 5.5, 6.5],
        "minutes": [2.0, 2.5, 3.0],
        "failed": [None, None, None],
    }
)


def table(finalists=FINALISTS, limit=None):
    at_most = {} if limit is None else {"latency_ms": limit}
    return searches.table(SEARCH | {"at_most": at_most}, DRAWN, [RANKING], finalists)


def test_the_table_by_hand():
    found = table(limit=6).astype(object)
    found = found.where(found.notna(), None).set_index("trial")
    assert found.outcome.to_dict() == {
        "b": "best",
        "a": "finalist",
        "d": "stopped",
        "c": "too slow",
        "e": "failed",
    }
    assert list(found.index) == list("badce")
    assert found.loc["b"].to_dict() == {
        RATE: 2,
        "outcome": "best",
        "epochs": 6,
        "snapshot": 0.9,
        "int8": 0.89,
        "latency_ms": 5.5,
        "minutes": 3.5,
        "failed": None,
    }
    assert found.loc["d", ["epochs", "snapshot", "int8"]].to_list() == [2, 0.3, None]
    assert found.loc["e", ["epochs", "snapshot", "failed"]].to_list() == [2, None, "it diverged"]


def test_without_a_limit_the_most_accurate_is_the_best():
    assert searches.best(table()) == "c"


def test_a_finalist_that_cannot_be_quantized_is_not_the_best():
    finalists = FINALISTS.copy()
    finalists["failed"] = finalists["failed"].astype(object)
    finalists.loc[2, ["failed", "int8 f-measure", "latency_ms"]] = ["beyond its budget", None, None]
    found = table(finalists)
    assert searches.best(found) == "b"
    assert "| c       |" in searches.markdown(found)
    assert "failed: beyond its budget" in searches.markdown(found)


def test_no_model_within_the_limit():
    with pytest.raises(InputError, match=r"within search\.at_most:\n(.|\n)*too slow") as error:
        searches.best(table(limit=4.2))
    assert "Raise search.at_most" in str(error.value)


def test_a_last_rung_that_failed_is_not_blamed_on_the_limit():
    finalists = FINALISTS.assign(failed="bad | worse", latency_ms=None)
    finalists["int8 f-measure"] = None
    ranking = RANKING.replace({"outcome": {"stopped": "too slow"}})
    found = searches.table(SEARCH | {"at_most": {"latency_ms": 6}}, DRAWN, [ranking], finalists)
    with pytest.raises(InputError, match="Every trial of the last rung failed:") as error:
        searches.best(found)
    assert "search.at_most" not in str(error.value)
    assert r"failed: bad \| worse" in str(error.value)


def test_the_configuration_of_the_best_is_yaml_with_comments():
    trials = table()
    content = {"data": "d", "template": "t"}
    file = Path("results/search/best.yaml")
    text = searches.configuration(trials.iloc[0], content, SEARCH, file, "a CPU, 2 threads")
    assert yaml.safe_load(text) == content
    assert f"# Trial c of a search: {RATE} 3." in text
    assert "f-measure 0.940 on val, 6.5 ms an image on a CPU, 2 threads." in text
    assert "snakemake --configfile results/search/best.yaml" in text


def test_the_files(tmp_path):
    files = [tmp_path / f"trials.{suffix}" for suffix in ("csv", "md", "svg")]
    searches.write(table(limit=6), "f-measure", *files, "a CPU, 2 threads")
    assert pd.read_csv(files[0]).trial.to_list() == list("badce")
    assert "| b" in files[1].read_text()
    drawn = "".join(ElementTree.parse(files[2]).getroot().itertext())
    assert "b best" in drawn
    assert "snapshot, stopped after 2 epochs" in drawn
    assert "e" not in drawn.split()  # it failed before it could be measured
