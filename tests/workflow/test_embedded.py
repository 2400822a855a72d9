"""The default build: the embedded dataset, from nothing to a measured int8 model."""

import pytest


def test_accuracy_is_kept_from_the_snapshot_to_int8(default):
    snapshot, ir, pot = (
        default.json(f"results/{folder}performance.json")["f-measure"]
        for folder in ("", "openvino/", "pot/")
    )
    assert snapshot >= 0.8
    assert ir >= 0.8
    assert ir == pytest.approx(snapshot, abs=0.005)
    assert pot >= ir - 0.01


def test_nothing_is_left_to_do(default):
    assert default.stale() == {}


def test_a_changed_image_of_the_build_s_own_is_seen(default):
    images = sorted((default.folder / "resources/cells/train").glob("*.png"))
    content = images[0].read_bytes()
    images[0].write_bytes(images[1].read_bytes())
    assert default.stale()["train"] == 1
    images[0].write_bytes(content)
    assert default.stale() == {}
