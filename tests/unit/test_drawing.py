"""Drawings show every box, its class and its score legibly, in any script."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from detmake.detections import Detections
from detmake.runtime import drawing, text

GREY = 128


def picture_of(size, boxes, scores=(0.9,), classes=(0,), labels=("cell", "other")):
    width, height = size
    image = np.full((height, width, 3), GREY, np.uint8)
    found = Detections(np.float32(boxes), np.float32(scores), np.int64(classes))
    picture = drawing.draw(image, found, labels)
    assert (image == GREY).all()
    return picture


def changed(picture: np.ndarray) -> np.ndarray:
    return (picture.astype(int) - GREY != 0).any(axis=2)


@pytest.mark.parametrize(
    "size, factor", [((80, 60), 11), ((320, 256), 3), ((640, 480), 1), ((4000, 3000), 1)]
)
def test_small_images_are_enlarged(size, factor):
    picture = picture_of(size, np.zeros((0, 4)), (), ())
    assert picture.shape == (size[1] * factor, size[0] * factor, 3)
    assert not changed(picture).any()


@pytest.mark.parametrize("size", [(640, 480), (2000, 1500), (6000, 4000)])
def test_labels_scale_with_the_image(size):
    width, height = size
    box = [0.3 * width, 0.5 * height, 0.9 * width, 0.9 * height]
    above = changed(picture_of(size, [box]))[: int(0.49 * height)]
    rows = np.flatnonzero(above.any(axis=1))
    assert 0.01 * width < len(rows) < 0.04 * width


def test_a_box_is_drawn_at_its_coordinates():
    picture = picture_of((640, 480), [[100, 200, 300, 400]])
    colour = drawing.class_colours(2)[0]
    for x, y in [(100, 300), (300, 300), (200, 400)]:
        assert tuple(picture[y, x]) == colour
    assert tuple(picture[300, 200]) == (GREY,) * 3


@pytest.mark.parametrize("corner", [(0, 0), (630, 0), (0, 470), (630, 470), (-50, 100)])
def test_labels_stay_in_the_image(corner):
    x, y = corner
    alone = changed(picture_of((640, 480), [[300, 200, 310, 210]])).sum()
    beside = changed(picture_of((640, 480), [[x, y, x + 10, y + 10]])).sum()
    assert beside > 0.6 * alone


def test_labels_of_a_crowded_image_do_not_overlap():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 300, (80, 2))
    boxes = np.hstack([corners, corners + 40])
    sizes = rng.uniform(20, 60, (80, 2))
    places = drawing.label_places(boxes, sizes, (340, 340))
    placed = [
        (*place, *np.add(place, size))
        for place, size in zip(places, sizes, strict=True)
        if place is not None
    ]
    assert places[0] is not None  # the best detection
    assert 10 < len(placed) < 80
    for number, (left, top, right, bottom) in enumerate(placed):
        assert 0 <= left < right <= 340
        assert 0 <= top < bottom <= 340
        for other in placed[:number]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top


def test_a_label_stands_beside_its_box():
    """Above it, or below it at the upper edge, or inside it if it fills the image."""
    boxes = np.array([[100, 100, 200, 200], [300, 0, 400, 50], [0, 0, 640, 480]])
    places = drawing.label_places(boxes, [(50, 20)] * 3, (640, 480))
    assert places == [(100, 80), (300, 50), (0, 0)]


@pytest.fixture
def fonts(monkeypatch):
    """Choose the installed fonts."""

    def install(*files):
        monkeypatch.setattr(text, "installed", lambda: list(files))

    caches = (text.rendered, text._file, text._warn)
    for cache in caches:
        cache.cache_clear()
    yield install
    for cache in caches:
        cache.cache_clear()


def font_of(characters: str, file: Path) -> Path:
    """Write a font in which the nth character is a bar of n tenths of its size."""
    names = [".notdef", *(f"glyph{number}" for number, _ in enumerate(characters, start=1))]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap(dict(zip(map(ord, characters), names[1:], strict=True)))
    glyphs = {}
    for number, name in enumerate(names):
        pen = TTGlyphPen(None)
        pen.moveTo((0, 0))
        for point in ((0, 700), (100 * number + 50, 700), (100 * number + 50, 0)):
            pen.lineTo(point)
        pen.closePath()
        glyphs[name] = pen.glyph()
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics({name: (1000, 0) for name in names})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Bars", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(file)
    return file


def test_a_label_is_written_in_the_first_font_that_has_its_characters(fonts, tmp_path, caplog):
    broken = tmp_path / "broken.ttf"
    broken.write_text("no font")
    latin = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")  # and Greek, Cyrillic
    fonts(broken, latin, font_of("白血球", tmp_path / "bars.ttf"))
    ink = [text.rendered(character, 40).astype(float).sum() for character in "白血球"]
    assert np.divide(ink, ink[0]) == pytest.approx([1, 25 / 15, 35 / 15], rel=0.05)
    pictures = [text.rendered(word, 40) for word in ("Лейкоцит", "Кейлоцит", "RBC")]
    assert not np.array_equal(pictures[0], pictures[1])
    assert all(picture.any() for picture in pictures)
    assert not caplog.records


def test_characters_that_no_font_has_are_named_once(fonts, caplog):
    fonts(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"))
    for score in ("0.93", "0.87"):
        assert text.rendered(f"白{score}", 20).any()
    (record,) = caplog.records
    assert record.getMessage().startswith("No installed font has 白.")


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "a\tb\x07", "x" * 500])
def test_any_class_name_can_be_drawn(name):
    picture = picture_of((640, 480), [[100, 200, 300, 400]], labels=(name, "other"))
    assert tuple(picture[300, 100]) == drawing.class_colours(2)[0]


def test_classes_have_different_colours():
    colours = np.array(drawing.class_colours(20))
    distances = np.abs(colours[:, None] - colours[None]).sum(axis=2)
    np.fill_diagonal(distances, 999)
    assert distances.min() > 15
    assert distances[:5, :5].min() > 60


def test_the_best_detection_is_drawn_on_top():
    picture = picture_of((640, 480), [[100, 200, 300, 400]] * 2, (0.9, 0.5), (1, 0))
    assert tuple(picture[300, 100]) == drawing.class_colours(2)[1]


@pytest.mark.parametrize("count, shape", [(1, (324, 400)), (4, (324, 1600)), (5, (648, 1600))])
def test_a_contact_sheet_has_four_pictures_in_a_row(count, shape):
    tiles = [drawing.tile(np.zeros((30, 60, 3), np.uint8), "a.png") for _ in range(count)]
    assert drawing.contact_sheet(tiles).shape == (*shape, 3)
