"""The default build, from the embedded cells dataset to a measured int8 model."""

import re

import pytest
from conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.alone]


def test_two_processes_train_nearly_as_well_as_one_in_less_than_half_the_epochs(embedded):
    """The README has the figures of one process in all epochs."""
    table = re.findall(
        r"^\| [^|]+\| `results/(\S*)performance.json` \| ([\d.]+) \|",
        (ROOT / "README.md").read_text(encoding="utf-8").partition("## Your own data")[0],
        re.MULTILINE,
    )
    assert [folder for folder, _ in table] == ["", "openvino/", "pot/"]
    for folder, f_measure in table:
        found = embedded.json(f"results/{folder}performance.json")["f-measure"]
        assert found == pytest.approx(float(f_measure), abs=0.1)
    assert "Training in 2 processes" in (embedded.folder / "results/logs/train.log").read_text()


def test_ir_and_int8_ir_are_as_accurate_as_the_snapshot(embedded):
    snapshot, ir, pot = (
        embedded.json(f"results/{folder}performance.json")["f-measure"]
        for folder in ("", "openvino/", "pot/")
    )
    assert ir == pytest.approx(snapshot, abs=0.005)
    assert pot >= ir - 0.01


def test_the_build_is_up_to_date(embedded):
    assert embedded.stale() == {}


def test_a_changed_image_of_the_cells_dataset_makes_training_stale(embedded):
    images = sorted((embedded.folder / "resources/cells/train").glob("*.png"))
    content = images[0].read_bytes()
    images[0].write_bytes(images[1].read_bytes())
    assert embedded.stale()["train"] == 1
    images[0].write_bytes(content)
    assert embedded.stale() == {}
