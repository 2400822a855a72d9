"""Datasets of Pascal VOC."""

import pytest
from dataset_case import HEIGHT, WIDTH, Dataset, remark

from detmake.data.formats.readers import image_files
from detmake.errors import InputError

# As LabelImg writes it.
LABELIMG = """\
<annotation verified="yes">
\t<folder>photos</folder>
\t<filename>{filename}</filename>
\t<path>C:\\photos\\{filename}</path>
\t<source>
\t\t<database>Unknown</database>
\t</source>
\t<size>
\t\t<width>{width}</width>
\t\t<height>{height}</height>
\t\t<depth>3</depth>
\t</size>
\t<segmented>0</segmented>
{objects}</annotation>
"""
OBJECT = """\
\t<object>
\t\t<name>{0}</name>
\t\t<pose>Unspecified</pose>
\t\t<truncated>0</truncated>
\t\t<difficult>{5}</difficult>
\t\t<bndbox>
\t\t\t<xmin>{1}</xmin>
\t\t\t<ymin>{2}</ymin>
\t\t\t<xmax>{3}</xmax>
\t\t\t<ymax>{4}</ymax>
\t\t</bndbox>
\t</object>
"""


def labelimg(*objects, filename="a.png", width=WIDTH, height=HEIGHT) -> str:
    texts = [OBJECT.format(*entry, *[0] * (6 - len(entry))) for entry in objects]
    return LABELIMG.format(filename=filename, width=width, height=height, objects="".join(texts))


DOG = ("dog", 80, 30, 120, 70)
DOG_BOX = ("dog", [80, 30, 40, 40])


@pytest.fixture
def beside(tmp_path):
    """A train and a val subset with an XML file beside each image."""
    dataset = Dataset(tmp_path / "set")
    for subset in ("train", "valid"):
        dataset.draw(f"{subset}/a.png")
        dataset.write({f"{subset}/a.xml": labelimg(DOG)})
    return dataset


@pytest.fixture
def voc(tmp_path):
    """A dataset in the layout of VOC, with two images in train and one in val."""
    dataset = Dataset(tmp_path / "VOC2012")
    for name, x in {"a": 10, "b": 20, "c": 30}.items():
        dataset.draw(f"JPEGImages/{name}.png")
        text = labelimg(("dog", x, 30, 120, 70), filename=f"{name}.png")
        dataset.write({f"Annotations/{name}.xml": text})
    dataset.write({"ImageSets/Main/train.txt": "a\nb\n", "ImageSets/Main/val.txt": "c\n"})
    return dataset


def test_files_beside_the_images(beside):
    beside.draw("train/b.jpg", "train/deeper/c.png", "train/results/demo/d.png")
    beside.write({"train/deeper/c.xml": labelimg(("cat", 1.5, 2, 3, 4.25), filename="c.png")})
    coco = beside.prepare()
    assert beside.boxes() == {"a": [DOG_BOX], "b": [], "c": [("cat", [1.5, 2, 1.5, 2.25])]}
    assert [category["name"] for category in coco["categories"]] == ["cat", "dog"]
    assert "images without boxes, kept as background: 1 (b.jpg)" in coco["info"]["remarks"]
    assert beside.boxes("val") == {"a": [DOG_BOX]}


def test_results_in_the_folder_of_the_photos_do_not_count(beside):
    first = beside.digest()
    beside.write({"train/results/openvino/openvino.xml": "<net/>"})
    beside.draw("train/results/demo/d.png")
    assert beside.boxes() == {"a": [DOG_BOX]}
    assert beside.digest() == first


def test_a_folder_that_lacks_its_images_is_refused(beside):
    """As after a copy that ended too early."""
    first = beside.digest()
    beside.write({"train/day 2/b.xml": labelimg(DOG, filename="b.png")})
    beside.refused("XML files without an image of the same name", "day 2/b.xml")
    assert beside.digest() != first


def test_lists_of_subsets(voc):
    voc.write({"ImageSets/Main/dog_train.txt": "a  1\nb -1\n"})
    assert list(voc.boxes()) == ["a", "b"]
    assert voc.boxes("val") == {"c": [("dog", [30, 30, 90, 40])]}


@pytest.mark.parametrize("text", ["a\r\nb\r\n", "\ufeffa\nb", "a  1\nb -1\n", "a.png\nb.jpg\n"])
def test_forms_of_a_list(voc, text):
    voc.write({"ImageSets/Main/train.txt": text})
    assert list(voc.boxes()) == ["a", "b"]


def test_without_lists_all_images_are_one_set(voc):
    for name in ("train", "val"):
        (voc.folder / f"ImageSets/Main/{name}.txt").unlink()
    voc.data = {"source": str(voc.folder), "split": {"val": 0.5}}
    assert sorted([*voc.boxes(), *voc.boxes("val")]) == ["a", "b", "c"]


def test_files_are_always_in_one_order(voc):
    """The cache of digests is asked for the files in their order, by each new process."""
    for name in ("train", "val"):
        (voc.folder / f"ImageSets/Main/{name}.txt").unlink()
    voc.data = {"source": str(voc.folder), "split": {"val": 0.5}}
    files = image_files(voc.source())
    assert files == {
        "": ["a.png", "b.png", "c.png"],
        "../Annotations": ["a.xml", "b.xml", "c.xml"],
    }


def test_a_folder_of_xml_files_and_one_of_images(voc):
    one = {
        "ann-files": str(voc.folder / "Annotations"),
        "data-roots": str(voc.folder / "JPEGImages"),
    }
    voc.data = {"train": one, "val": one}
    assert list(voc.boxes()) == ["a", "b", "c"]


def test_difficult_objects_are_ignored(beside):
    beside.write({"train/a.xml": labelimg(DOG, ("dog", 1, 2, 30, 40, 1))})
    assert [entry["iscrowd"] for entry in beside.prepare()["annotations"]] == [0, 1]


def test_boxes_from_pixel_0_and_up_to_the_size_are_within_the_image(beside):
    """Some tools count from 0 and some from 1; neither needs a repair."""
    beside.write({"train/a.xml": labelimg(("dog", 0, 0, 10, 10), ("dog", 1, 1, WIDTH, HEIGHT))})
    coco = beside.prepare()
    assert beside.boxes()["a"] == [
        ("dog", [0, 0, 10, 10]),
        ("dog", [1, 1, WIDTH - 1, HEIGHT - 1]),
    ]
    assert coco["info"]["remarks"] == []


def test_repairs_name_the_file_and_the_object(beside):
    beside.write({"train/a.xml": labelimg(DOG, ("dog", 50, 50, 20, 60), ("dog", 150, 0, 230, 50))})
    coco = beside.prepare()
    assert f"{beside.folder}/train/a.xml object 2" in remark(coco, "without area, dropped")
    assert f"{beside.folder}/train/a.xml object 3" in remark(coco, "clipped")


def test_a_file_of_another_image_is_refused(beside):
    beside.draw("train/b.png")
    beside.write({"train/a.xml": labelimg(DOG, filename="b.png")})
    beside.refused("filename is that of another image", "train/a.xml (b.png)")


def test_a_file_of_another_size_is_refused(beside):
    beside.write({"train/a.xml": labelimg(DOG, width=WIDTH // 2)})
    beside.refused("width and height differ", "a.png (declared 100x100, is 200x100)")


def test_a_renamed_image_is_remarked_on(beside):
    beside.write({"train/a.xml": labelimg(DOG, filename="IMG_1.png")})
    assert beside.boxes() == {"a": [DOG_BOX]}
    assert "train/a.xml (IMG_1.png)" in remark(beside.prepare(), "another filename")


def test_files_without_a_partner_are_refused(beside, voc):
    beside.write({"train/b.xml": labelimg(DOG)})
    beside.refused("XML files without an image of the same name", "b.xml")
    (beside.folder / "train/b.xml").unlink()
    beside.draw("train/a.jpg")
    beside.refused("names that several images share", "a.jpg and a.png")
    (beside.folder / "train/a.jpg").unlink()
    beside.write({"train/a.XML": labelimg(DOG)})
    beside.refused("names that several XML files share", "a.XML and a.xml")
    (voc.folder / "Annotations/a.xml").unlink()
    (voc.folder / "JPEGImages/b.png").unlink()
    voc.refused("names in", "ImageSets/Main/train.txt", "without an XML file", ": 2 (a, b)")


def test_a_folder_without_xml_files_is_refused(beside, voc):
    beside.draw("test/a.png", "test/deeper/b.png")
    beside.write({"test/elsewhere/b.xml": "<annotations/>"})
    said = f"found no XML files beside images in {beside.folder}/test. Expected"
    beside.refused(said, "take away a test/ folder", subset="test")
    voc.write({"labels/a.txt": "0 0.5 0.5 0.2 0.4"})
    one = {"ann-files": str(voc.folder / "labels"), "data-roots": str(voc.folder / "JPEGImages")}
    voc.data = {"train": one, "val": one}
    voc.refused(f"found no XML files in {voc.folder}/labels. Expected", "to a data.yaml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("</annotation>", "", "not XML of annotations (no element found"),
        ("annotation", "article", "found the element <article>, expected <annotation>"),
        ("<xmax>120</xmax>", "", "object 1: <object> without bndbox/xmax"),
        ("<xmax>120</xmax>", "<xmax>wide</xmax>", "could not convert string to float: 'wide'"),
        ("<name>dog</name>", "", "object 1: <object> without name"),
        ("<width>200</width>", "", "<annotation> without size/width"),
        (
            "<annotation ",
            '<!DOCTYPE a [<!ENTITY b "dog">]><annotation ',
            "it has a DOCTYPE, which annotations do not need",
        ),
    ],
)
def test_a_bad_file_is_named(beside, old, new, said):
    beside.write({"train/a.xml": labelimg(DOG).replace(old, new)})
    with pytest.raises(InputError) as error:
        beside.prepare()
    assert str(error.value).startswith(f"{beside.folder}/train/a.xml: ")
    assert said in str(error.value)


def test_entities_are_not_expanded(beside):
    entities = "".join(f'<!ENTITY e{k + 1} "{f"&e{k};" * 10}">' for k in range(9))
    bomb = f'<!DOCTYPE a [<!ENTITY e0 "dog">{entities}]>'
    beside.write({"train/a.xml": bomb + labelimg(("&e9;", 1, 2, 3, 4))})
    with pytest.raises(InputError, match="DOCTYPE"):
        beside.prepare()


def test_a_byte_order_mark_and_windows_line_ends(beside):
    beside.write({"train/a.xml": "\ufeff" + labelimg(DOG).replace("\n", "\r\n")})
    assert beside.boxes() == {"a": [DOG_BOX]}


def test_the_digest_follows_images_and_xml_files(voc):
    first = voc.digest()
    text = labelimg(("dog", 11, 30, 120, 70))
    voc.write({"Annotations/a.xml": text})
    second = voc.digest()
    voc.draw("JPEGImages/b.png", size=(10, 10))
    third = voc.digest()
    assert len({first, second, third}) == 3
    voc.write({"Annotations/c.xml": text})  # of val
    assert voc.digest() == third
    assert voc.source().files == [voc.folder / "ImageSets/Main/train.txt"]


def test_the_digest_follows_xml_files_beside_a_link_to_the_images(voc, tmp_path):
    before = voc.digest()
    (tmp_path / "disk").mkdir()
    images = (voc.folder / "JPEGImages").rename(tmp_path / "disk/pictures")
    (voc.folder / "JPEGImages").symlink_to(images)
    assert voc.digest() == before
    voc.write({"Annotations/a.xml": labelimg(("dog", 11, 30, 120, 70))})
    assert voc.digest() != before
