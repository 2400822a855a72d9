"""Images that two subsets have: reported by name, or refused if a subset has no others."""

import pytest

from detmake.data import leaks
from detmake.errors import InputError


def subset(**images: str) -> dict:
    """A prepared subset; names of images by their content."""
    return {
        "info": {"annotation_file": "data/coco.json"},
        "images": [{"sha256": content, "file_name": name} for content, name in images.items()],
    }


def test_images_of_two_subsets_are_reported_by_name():
    others = {"train": subset(x="a.png", y="b.png"), "val": subset(z="c.png", y="d.png")}
    found = leaks.check(subset(y="copy of b.png", w="e.png"), "test", others, "fail")
    assert found == [
        "images that the train subset has, too (leaks): 1 (copy of b.png (b.png))",
        "images that the val subset has, too (leaks): 1 (copy of b.png (d.png))",
    ]


def test_subsets_without_common_images_are_not_mentioned():
    assert leaks.check(subset(x="a.png"), "val", {"train": subset(y="a.png")}, "fail") == []


@pytest.mark.parametrize(
    ("val", "train", "said"),
    [
        (subset(x="a.png"), subset(x="b.png", y="c.png"), "all of the val subset, that the train"),
        (subset(x="b.png", y="c.png"), subset(x="a.png"), "all of the train subset, that the val"),
        (subset(x="a.png"), subset(x="a.png"), "all of the val subset, that the train"),
    ],
)
def test_a_subset_within_another_is_refused_unless_the_key_allows_it(val, train, said):
    with pytest.raises(InputError) as error:
        leaks.check(val, "val", {"train": train}, "fail")
    assert f"data/coco.json (val): images, {said} subset has, too (leaks): 1 (" in str(error.value)
    assert "data.on_leak: warn" in str(error.value)
    assert len(leaks.check(val, "val", {"train": train}, "warn")) == 1
