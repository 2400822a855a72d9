"""Datasets of CVAT for images 1.1."""

import pytest
from dataset_case import HEIGHT, WIDTH, Dataset, remark

from detmake.data.image_digests import listed_digest
from detmake.errors import InputError

XML = """\
<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <name>cells</name>
      <labels>
        <label><name>dog</name><color>#fafa37</color><attributes></attributes></label>
        <label><name>cat</name><color>#ff0000</color><attributes></attributes></label>
      </labels>
    </task>
  </meta>
{images}</annotations>
"""
BOX = (
    '<box label="{}" source="manual" occluded="0" xtl="{}" ytl="{}" xbr="{}" ybr="{}" z_order="0"/>'
)
DOG = BOX.format("dog", 80, 30.5, 120, 70.25)


def image(name: str, *shapes: str, size=(WIDTH, HEIGHT), subset="default") -> str:
    head = f'<image id="0" name="{name}" subset="{subset}" width="{size[0]}" height="{size[1]}">'
    return f"  {head}{''.join(shapes)}</image>\n"


@pytest.fixture
def cvat(tmp_path):
    """A dataset with one image, which is in both subsets."""
    dataset = Dataset(tmp_path / "set")
    dataset.draw("images/a.png")
    dataset.write({"annotations.xml": XML.format(images=image("a.png", DOG))})
    dataset.data = {"train": {"ann-files": str(dataset.folder / "annotations.xml")}}
    dataset.data["train"]["data-roots"] = str(dataset.folder / "images")
    dataset.data["val"] = dataset.data["train"]
    return dataset


def annotate(cvat, *images):
    cvat.write({"annotations.xml": XML.format(images="".join(images))})


DOG_BOX = ("dog", [80, 30.5, 40, 39.75])


def test_boxes_and_the_boxes_around_other_shapes(cvat):
    rotated = DOG.replace("z_order", 'rotation="90.00" z_order')
    shapes = [
        '<polygon label="cat" points="10.0,20.0;30.5,25.0;15.0,60.0"/>',
        '<mask label="cat" rle="1, 2" left="5" top="6" width="7" height="8"/>',
        rotated.replace('xbr="120"', 'xbr="100"').replace("70.25", "70.5"),
    ]
    cvat.draw("images/b.png", "images/deeper/c.png")
    annotate(cvat, image("a.png", DOG), image("b.png"), image("deeper/c.png", *shapes))
    coco = cvat.prepare()
    assert cvat.boxes() == {
        "a": [DOG_BOX],
        "b": [],
        "c": [
            ("cat", [10, 20, 20.5, 40]),
            ("cat", [5, 6, 7, 8]),
            ("dog", [70, 40.5, 40, 20]),  # 20×40 about (90, 50.5), turned on its side
        ],
    }
    assert [category["name"] for category in coco["categories"]] == ["dog", "cat"]


def test_an_export_folder_is_found(cvat):
    located = cvat.source()
    cvat.data = {"source": str(cvat.folder), "split": {"val": 0.5}}
    assert cvat.source().whole == located
    cvat.data["source"] += "/annotations.xml"
    assert cvat.source().whole == located


def test_images_of_a_project_are_in_folders_of_their_subsets(cvat):
    cvat.draw("images/Train/b.png")
    annotate(cvat, image("a.png", DOG, subset="Train"), image("b.png", DOG, subset="Train"))
    assert cvat.boxes() == {"a": [DOG_BOX], "b": [DOG_BOX]}
    before = cvat.digest()
    cvat.draw("images/Train/b.png", size=(10, 10))
    assert cvat.digest() != before


def test_frames_of_a_video_are_named_without_a_suffix(cvat):
    """As CVAT exports them (https://github.com/cvat-ai/cvat/issues/8839)."""
    cvat.draw("images/frame_000007.PNG")
    annotate(cvat, image("frame_000007", DOG))
    assert cvat.boxes() == {"frame_000007": [DOG_BOX]}
    before = cvat.digest()
    cvat.draw("images/frame_000007.PNG", size=(10, 10))
    assert cvat.digest() != before


def test_subsets_that_are_pooled_are_remarked_on(cvat):
    cvat.draw("images/b.png", "images/c.png")
    annotate(cvat, *(image(f"{name}.png", DOG, subset="Train") for name in "ab"))
    assert not any("subsets of CVAT" in text for text in cvat.prepare()["info"]["remarks"])
    annotate(cvat, image("a.png", DOG, subset="Train"), image("b.png", DOG, subset="Test"))
    assert remark(cvat.prepare(), "one file").endswith(": 2 (Test (images: 1), Train (images: 1))")


def test_an_image_that_moves_between_these_folders_is_seen(cvat, tmp_path):
    """Whether the annotation file is read again or not: it is still the same."""

    def digest():
        warm = listed_digest(cvat.source(), tmp_path / "cache")
        assert warm == cvat.digest()
        return warm

    annotate(cvat, image("a.png", DOG, subset="Train"))
    digests = [digest()]
    (cvat.folder / "images/Train").mkdir()
    (cvat.folder / "images/a.png").rename(cvat.folder / "images/Train/a.png")
    digests.append(digest())
    cvat.draw("images/Train/a.png", size=(10, 10))
    digests.append(digest())
    assert len(set(digests)) == 3


def test_labels_may_be_undeclared(cvat):
    images = image("a.png", DOG, BOX.format("cat", 1, 2, 3, 4))
    cvat.write({"annotations.xml": f"<annotations>{images}</annotations>"})
    assert [category["name"] for category in cvat.prepare()["categories"]] == ["cat", "dog"]


def test_other_shapes_are_left_out(cvat):
    points = '<points label="dog" points="1,2"/>'
    annotate(cvat, image("a.png", DOG, points, points, '<polyline label="dog" points="1,2;3,4"/>'))
    assert cvat.boxes() == {"a": [DOG_BOX]}
    assert ": 2 (points (2), polyline (1))" in remark(cvat.prepare(), "have no box")


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ('<track id="7" label="dog"><box frame="0"/></track>', ("tracks", "track 7", "images 1.1")),
        (image("a.png", BOX.format("cow", 1, 2, 3, 4)), ("not in meta", "shape 1 (box): 'cow'")),
        (image("a.png", DOG, DOG.replace("xtl", "x")), ("shape 2 (box): it has no xtl",)),
        (image("a.png", DOG.replace("80", "far")), ("image 'a.png', shape 1 (box)", "'far'")),
        (image("a.png", '<polygon label="dog" points="1;2"/>'), ("shape 1 (polygon)",)),
        (image("a.png", DOG, size=(100, 200)), ("declared 100x200, is 200x100",)),
        (image("b.png", DOG), ("image files missing", "b.png")),
        ("", ("there are no images",)),
    ],
)
def test_bad_input_is_named(cvat, images, said):
    annotate(cvat, images)
    cvat.refused(*said)


def test_xml_of_another_kind_is_refused(cvat):
    cvat.write({"annotations.xml": "<annotation/>"})
    with pytest.raises(InputError, match=r"found the element <annotation>, expected <annotations>"):
        cvat.prepare()


def test_repairs_name_the_shape(cvat):
    annotate(cvat, image("a.png", DOG, BOX.format("cat", 190, 90, 210, 110)))
    assert "image 'a.png', shape 2 (box)" in remark(cvat.prepare(), "clipped")
