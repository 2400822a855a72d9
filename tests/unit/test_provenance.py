"""What results were made from is written beside them, and read where it is not recorded."""

from pathlib import Path

import pytest

from detmake.build import provenance
from detmake.errors import InputError

RECORDS = {
    "results/weights.pth": {"params": ["'rate: 0.1'"], "input": ["results/dataset/train.json"]},
    "results/slow/weights.pth": {"params": ["'rate: 0.01'"], "input": ["data/results/a.json"]},
}


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in RECORDS:
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(path)
    file = Path("results/provenance.json")
    provenance.write(file, RECORDS)
    return file


def nothing(_):
    return False


def test_only_what_is_not_recorded_is_read(file):
    assert provenance.lost(file, nothing) == RECORDS
    assert provenance.lost(file, lambda path: "slow" in path).keys() == {"results/weights.pth"}
    assert provenance.lost(file, lambda path: True) == {}


def test_results_that_changed_or_are_missing_do_not_count(file):
    (file.parent / "weights.pth").write_text("other")
    (file.parent / "slow/weights.pth").unlink()
    assert provenance.lost(file, nothing) == {}


def test_results_in_a_folder_of_another_name(file):
    copied = file.parent.rename("copied") / file.name
    found = provenance.lost(copied, nothing)
    assert found == {
        "copied/weights.pth": {"params": ["'rate: 0.1'"], "input": ["copied/dataset/train.json"]},
        "copied/slow/weights.pth": RECORDS["results/slow/weights.pth"],
    }


@pytest.mark.parametrize("text", ["", "[]", '{"results/weights.pth": {}}'])
def test_a_damaged_file(file, text):
    file.write_text(text)
    with pytest.raises(InputError, match=r"results/provenance.json: expected .* Remove it"):
        provenance.lost(file, nothing)
