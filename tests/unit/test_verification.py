"""The comparison of figures that were measured again with those of the build."""

from pathlib import Path

import pytest

from detmake.errors import InputError
from detmake.evaluation.verification import are_comparable, check_figures, compare

BUILD = {
    **{"f-measure": 0.9, "mAP50": 0.8, "mAP": 0.5},
    **{"images": 10, "ground_truths": 40, "images_sha256": "a"},
}


@pytest.mark.parametrize(
    "here, wrong",
    [
        ({}, None),
        ({"f-measure": 0.891, "mAP": 0.6}, None),
        ({"f-measure": 0.895, "mAP50": 0.789}, "mAP at IoU 0.5 is 0.011 lower"),
        ({"f-measure": 0.0, "mAP50": 0.7}, "F-measure is 0.900 lower"),
    ],
)
def test_a_figure_that_is_lower_by_more_than_a_point_is_wrong(here, wrong):
    lines, found = compare(BUILD | here, BUILD)
    assert are_comparable(BUILD | here, BUILD)
    assert (found is None) == (wrong is None)
    assert wrong is None or wrong in found
    assert len(lines) == 4


def test_the_table_shows_both_figures_and_their_difference():
    lines, _ = compare(BUILD | {"f-measure": 0.65}, BUILD)
    assert lines[1].split() == ["F-measure", "0.900", "0.650", "-0.250"]


@pytest.mark.parametrize("other", [{"images_sha256": "b"}, {"ground_truths": 39}])
def test_figures_of_other_data_are_shown_but_not_judged(other):
    lines, wrong = compare(BUILD | {"f-measure": 0.1} | other, BUILD)
    assert wrong is None
    assert not are_comparable(BUILD | other, BUILD)
    boxes = other.get("ground_truths", 40)
    said = f"other images or boxes (10 images with 40 boxes; here, 10 images with {boxes} boxes)."
    assert lines[-1].endswith(said)


def test_missing_figures_are_named_with_their_file():
    whole = BUILD | {"confidence_threshold": 0.5}
    check_figures(whole, Path("model/performance.json"))
    damaged = {key: value for key, value in whole.items() if key != "images"} | {"mAP": "0.5"}
    with pytest.raises(InputError, match=r"model/performance\.json: .*no number for mAP, images"):
        check_figures(damaged, Path("model/performance.json"))
