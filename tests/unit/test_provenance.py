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


def test_what_was_written_is_read(file):
    assert provenance.read(file) == RECORDS


def test_a_folder_counts_by_its_files(file):
    folder = file.parent / "demo"
    folder.mkdir()
    (folder / "a.jpg").write_text("a")
    provenance.write(file, {"results/demo": {}})
    assert provenance.read(file) == {"results/demo": {}}
    (folder / "b.jpg").write_text("b")
    assert provenance.read(file) == {}


def test_results_that_changed_or_are_missing_do_not_count(file):
    (file.parent / "weights.pth").write_text("other")
    (file.parent / "slow/weights.pth").unlink()
    assert provenance.read(file) == {}


def test_results_in_a_folder_of_another_name(file):
    copied = file.parent.rename("copied") / file.name
    found = provenance.read(copied)
    assert found == {
        "copied/weights.pth": {"params": ["'rate: 0.1'"], "input": ["copied/dataset/train.json"]},
        "copied/slow/weights.pth": RECORDS["results/slow/weights.pth"],
    }


@pytest.mark.parametrize("text", ["", "[]", '{"results/weights.pth": {}}'])
def test_a_damaged_file(file, text):
    file.write_text(text)
    with pytest.raises(InputError, match=r"results/provenance.json: expected .* Remove it"):
        provenance.read(file)
