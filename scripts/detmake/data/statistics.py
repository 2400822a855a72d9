"""Describe prepared subsets: what one looks up in a dataset before training on it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from detmake.data import subsets
from detmake.data.findings import listed
from detmake.data.near_duplicates import clusters
from detmake.markdown_text import escaped

#: In pixels: a box whose shorter side is below it is small. It is the stride of the finest feature
#: map of most templates, so such a box is narrower than a cell of that map.
SMALL = 8
#: Share of a class's boxes that may be smaller than wanted.
SMALLEST = 0.05
#: IoU above which two boxes of one class are nearly the same: probably one object, annotated twice.
SAME = 0.9
#: Ratio of the longer to the shorter side above which a shape is extreme. A square covers a box of
#: ratio r with an IoU of at most 1 / (2√r - 1), which is 0.29 for 5.
EXTREME = 5
#: The recall whose interval is stated, and the width above which a class is too rare to measure.
RECALL, UNSURE = 0.8, 0.2

_Z = 1.959964  # of a normal distribution, for an interval of 95 %
_SIZES = 5  # rows of image sizes in the Markdown
_IN_TEXT = str.maketrans({"<": r"\<", "`": r"\`"})  # brackets are of boxes, and stay readable
_CORNERS = ["x", "y", "width", "height"]


def describe(files: Mapping[str, Path], input_size: Sequence[int]) -> dict[str, Any]:
    """Describe the images and boxes of prepared subsets.

    Crowds are counted, and otherwise left out. It reads one subset at a time, and no image.

    Args:
        files: prepared subsets by name: `train` and others, on which models are measured.
        input_size: (width, height) of the network's input in pixels. Images are resized to it
            without keeping their ratio.

    Returns:
        JSON values:

        - `input_size`; `subsets`: for each, `images`, `images_without_boxes`, `boxes`, `crowds`,
          `median_boxes` and `most_boxes` of an image, and `repairs` (remarks of the checker);
        - `image_sizes`: `width`, `height` and number of `images`, most frequent first;
        - `classes`: for each, `subsets` (`boxes`, `images`, and `small`: boxes of a shorter side
          below `SMALL`; where models are measured also `recall`, the interval) and
          `shorter_side`: its quantiles `0.05`, `0.5` and `0.95` in pixels of the network's input,
          None without boxes;
        - `identical_images`: lists of images (`subset/file_name`) with the same SHA-256, and
          `leaks`: those of these lists that span several subsets;
        - `nearly_same_boxes`: `image`, `class`, two `boxes` (xywh in pixels of the image) and
          their `iou`, above `SAME`;
        - `near_duplicates`: lists of images that look nearly the same (`near_duplicates.clusters`)
          but are not all identical, and `near_duplicate_leaks`: those that span several subsets;
        - `extreme_boxes`: `image`, `class`, `box` and `aspect_ratio` (of the longer to the shorter
          side in pixels of the network's input), above `EXTREME`;
        - `rare`: `class` and `subset` whose interval of recall is wider than `UNSURE`.
    """
    described, tables = {}, []
    for subset, file in files.items():
        coco = subsets.read(file)
        images, boxes = _tables(subset, coco, input_size)
        counts = boxes["image"].value_counts().reindex(images.index, fill_value=0)
        described[subset] = {
            "images": len(images),
            "images_without_boxes": int((counts == 0).sum()),
            "boxes": len(boxes),
            "crowds": len(coco["annotations"]) - len(boxes),
            "median_boxes": float(counts.median()),
            "most_boxes": int(counts.max()),
            "repairs": coco["info"]["remarks"],
        }
        names = subsets.class_names(coco)
        tables.append((images.reset_index(drop=True), boxes))
    images = pd.concat([images for images, _ in tables], ignore_index=True)
    boxes = pd.concat([boxes for _, boxes in tables], ignore_index=True)
    identical, near = _identical(images), _near_duplicates(images)
    classes = _classes(names, boxes, list(files))
    return {
        "input_size": list(input_size),
        "subsets": described,
        "image_sizes": images.value_counts(["width", "height"])
        .rename("images")
        .reset_index()
        .to_dict("records"),
        "classes": classes,
        "identical_images": identical,
        "leaks": [images for images in identical if _spans_subsets(images)],
        "near_duplicates": near,
        "near_duplicate_leaks": [images for images in near if _spans_subsets(images)],
        "nearly_same_boxes": _nearly_same(boxes),
        "extreme_boxes": [
            {
                "image": box.path,
                "class": box.name,
                "box": [box.x, box.y, box.width, box.height],
                "aspect_ratio": round(box.aspect_ratio, 2),
            }
            for box in boxes[boxes["aspect_ratio"] > EXTREME].itertuples(index=False)
        ],
        "rare": [
            {"class": name, "subset": subset}
            for name, values in classes.items()
            for subset, counts in values["subsets"].items()
            if "recall" in counts and counts["recall"][1] - counts["recall"][0] > UNSURE
        ],
    }


def wilson_interval(recall: float, boxes: int) -> tuple[float, float]:
    """Return the 95 % score interval of a recall that is measured on a number of boxes.

    The interval is that of E. B. Wilson (Journal of the American Statistical Association 22, 1927,
    209-212), which also holds for few boxes and without any. It takes boxes as independent; those
    of one image are not quite, so the true interval is rather wider.
    """
    centre = boxes * recall + _Z**2 / 2
    half = _Z * np.sqrt(boxes * recall * (1 - recall) + _Z**2 / 4)
    return float((centre - half) / (boxes + _Z**2)), float((centre + half) / (boxes + _Z**2))


def _tables(
    subset: str, coco: Mapping[str, Any], input_size: Sequence[int]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the images of a subset, by id, and its boxes without crowds."""
    columns = ["id", "file_name", "width", "height", "sha256", "dhash"]
    images = pd.DataFrame(coco["images"], columns=columns).set_index("id")
    images["path"] = f"{subset}/" + images.pop("file_name")
    entries = coco["annotations"]
    boxes = pd.DataFrame([entry["bbox"] for entry in entries], columns=_CORNERS, dtype=float)
    boxes["subset"] = subset
    boxes["image"] = [entry["image_id"] for entry in entries]
    boxes["path"] = boxes["image"].map(images["path"])
    names = np.array(subsets.class_names(coco), dtype=object)
    boxes["name"] = names[[entry["category_id"] - 1 for entry in entries]]
    sides = subsets.box_sizes(coco, input_size)
    boxes["shorter_side"] = sides.min(axis=1)
    boxes["aspect_ratio"] = sides.max(axis=1) / sides.min(axis=1)
    return images, boxes[[not entry["iscrowd"] for entry in entries]]


def _identical(images: pd.DataFrame) -> list[list[str]]:
    repeated = images[images.duplicated("sha256", keep=False)]
    return [list(paths) for _, paths in repeated.groupby("sha256", sort=False)["path"]]


def _near_duplicates(images: pd.DataFrame) -> list[list[str]]:
    groups = [images.iloc[rows] for rows in clusters(images["dhash"])]
    return [list(group["path"]) for group in groups if group["sha256"].nunique() > 1]


def _spans_subsets(images: Sequence[str]) -> bool:
    return len({image.partition("/")[0] for image in images}) > 1


def _classes(names: Sequence[str], boxes: pd.DataFrame, files: Sequence[str]) -> dict[str, Any]:
    boxes = boxes.assign(small=boxes["shorter_side"] < SMALL)
    counts = (
        boxes.groupby(["name", "subset"])
        .agg(boxes=("path", "size"), images=("path", "nunique"), small=("small", "sum"))
        .reindex(pd.MultiIndex.from_product([names, files]), fill_value=0)
    )
    sides = boxes.groupby("name")["shorter_side"].quantile([0.05, 0.5, 0.95]).round(1).unstack()
    classes: dict[str, Any] = {}
    for name in names:
        by_subset = counts.loc[name].to_dict("index")
        for subset, values in by_subset.items():
            if subset != "train":
                values["recall"] = [round(x, 3) for x in wilson_interval(RECALL, values["boxes"])]
        found = sides.loc[name] if name in sides.index else None
        classes[name] = {
            "subsets": by_subset,
            "shorter_side": None if found is None else {f"{q:g}": x for q, x in found.items()},
        }
    return classes


def _nearly_same(boxes: pd.DataFrame) -> list[dict[str, Any]]:
    """Find the pairs of boxes of one image and class with an IoU above `SAME`.

    Boxes are sorted by their left edge and compared with the next one, then the one after that,
    and so on. If the second box begins d pixels to the right of the first, whose width is w, their
    IoU is at most (w - d) / w, so few comparisons remain for most boxes.
    """
    group = boxes.groupby(["path", "name"], sort=False).ngroup().to_numpy()
    order = np.lexsort((boxes["x"], group))
    group, boxes = group[order], boxes.iloc[order]
    corners = boxes[_CORNERS].to_numpy()
    x, y, width, height = corners.T
    pairs: list[dict[str, Any]] = []
    first, step = np.arange(len(boxes)), 0
    while len(first):
        step += 1
        first = first[first + step < len(boxes)]
        near = x[first + step] - x[first] < (1 - SAME) * width[first]
        first = first[near & (group[first] == group[first + step])]
        second = first + step
        right = np.minimum(x[first] + width[first], x[second] + width[second])
        bottom = np.minimum(y[first] + height[first], y[second] + height[second])
        common = (right - x[second]) * (bottom - np.maximum(y[first], y[second])).clip(0)
        iou = common / (width[first] * height[first] + width[second] * height[second] - common)
        same = iou > SAME
        found = boxes.iloc[first[same]]
        pairs += [
            {"image": image, "class": name, "boxes": both, "iou": value}
            for image, name, both, value in zip(
                found["path"],
                found["name"],
                corners[np.stack([first[same], second[same]], axis=1)].tolist(),
                iou[same].round(3).tolist(),
                strict=True,
            )
        ]
    return pairs


class Table(NamedTuple):
    """A table of statistics.

    Attributes:
        title: its title.
        words: what its figures mean; may be empty.
        rows: its cells by the headings of the columns; the first one names the row.
    """

    title: str
    words: str
    rows: list[dict[str, Any]]


def tables(statistics: Mapping[str, Any]) -> list[Table]:
    """Return what `describe` returns as tables for readers."""
    width, height = statistics["input_size"]
    classes = statistics["classes"]
    return [
        Table("Subsets", "", _subset_rows(statistics["subsets"])),
        Table(
            "Image sizes",
            f"Resized to {width}×{height}, the network's input.",
            _size_rows(statistics),
        ),
        Table(
            "Classes",
            "Boxes, and in parentheses the images that they are in. Recall: the 95 % interval "
            f"(Wilson) if a model finds {RECALL * 100:g} % of the boxes.",
            _class_rows(classes),
        ),
        Table(
            "Sizes of boxes",
            f"The shorter side, in pixels of the {width}×{height} input. The finest feature map of "
            f"most templates has a stride of {SMALL} pixels.",
            _box_rows(classes),
        ),
    ]


def markdown(statistics: Mapping[str, Any]) -> str:
    """Write what `describe` returns as Markdown: tables, and what to look at."""
    parts = ["# Dataset"]
    for title, words, rows in tables(statistics):
        parts += [f"## {title}", *([words] if words else []), _table(rows)]
    lines = [f"- {line.translate(_IN_TEXT)}" for line in remarks(statistics)]
    advice = "docs/data.md of detmake says what you can do about each."
    return "\n\n".join([*parts, "## Look at these", advice, "\n".join(lines)]) + "\n"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    table = pd.DataFrame(rows).astype(str).map(escaped)
    align = ("left", *["right"] * (table.shape[1] - 1))
    return table.to_markdown(index=False, disable_numparse=True, colalign=align)


def _subset_rows(described: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "subset": subset,
            "images": values["images"],
            "without boxes": values["images_without_boxes"],
            "boxes": values["boxes"],
            "boxes an image: median": f"{values['median_boxes']:g}",
            "most": values["most_boxes"],
            "crowds": values["crowds"],
        }
        for subset, values in described.items()
    ]


def _size_rows(statistics: Mapping[str, Any]) -> list[dict[str, Any]]:
    sizes, (width, height) = statistics["image_sizes"], statistics["input_size"]
    rows = [
        {
            "size": f"{size['width']}×{size['height']}",
            "images": size["images"],
            "factor of width": f"{width / size['width']:.2f}",
            "of height": f"{height / size['height']:.2f}",
        }
        for size in sizes
    ]
    if others := sizes[_SIZES:]:
        count = sum(size["images"] for size in others)
        other = {"size": f"other sizes: {len(others)}", "images": count}
        rows[_SIZES:] = [dict.fromkeys(rows[0], "") | other]
    return rows


def _class_rows(classes: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name, values in classes.items():
        row = {"class": name}
        for subset, counts in values["subsets"].items():
            row[subset] = f"{counts['boxes']} ({counts['images']})"
            if "recall" in counts:
                row[f"recall on {subset}"] = "{:.2f}–{:.2f}".format(*counts["recall"])
        rows.append(row)
    return rows


def _box_rows(classes: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name, values in classes.items():
        sides = values["shorter_side"] or {}
        small, share = _small_boxes(values)
        rows.append(
            {
                "class": name,
                "5 % are below": sides.get("0.05", ""),
                "median": sides.get("0.5", ""),
                "5 % are above": sides.get("0.95", ""),
                f"below {SMALL} px": f"{small} ({100 * share:.1f} %)",
            }
        )
    return rows


def _small_boxes(values: Mapping[str, Any]) -> tuple[int, float]:
    """Return how many boxes of a class are small, in all subsets, and their share of its boxes."""
    boxes, small = (sum(c[key] for c in values["subsets"].values()) for key in ("boxes", "small"))
    return small, small / max(boxes, 1)


def remarks(statistics: Mapping[str, Any]) -> list[str]:
    """Say what was found, and what was looked for and not found."""

    def together(images: Sequence[str], sign: str = "=") -> str:
        return f" {sign} ".join([*images[:3], "…"] if len(images) > 3 else images)

    def label(item: Mapping[str, Any], box: Sequence[float]) -> str:
        return f"{item['image']} {item['class']} [{', '.join(f'{x:.5g}' for x in box)}]"

    shares = {name: _small_boxes(values)[1] for name, values in statistics["classes"].items()}
    found = {
        "groups of identical images that span several subsets (leaks)": [
            together(images) for images in statistics["leaks"]
        ],
        "groups of identical images within one subset": [
            together(images)
            for images in statistics["identical_images"]
            if not _spans_subsets(images)
        ],
        "groups of near-duplicates that span several subsets (leaks)": [
            together(images, "≈") for images in statistics["near_duplicate_leaks"]
        ],
        "groups of near-duplicates within one subset": [
            together(images, "≈")
            for images in statistics["near_duplicates"]
            if not _spans_subsets(images)
        ],
        f"pairs of boxes of one class with an IoU above {SAME}": [
            label(pair, pair["boxes"][0]) for pair in statistics["nearly_same_boxes"]
        ],
        f"classes of which more than {100 * SMALLEST:g} % of the boxes are below {SMALL} px": [
            f"{name} ({100 * share:.1f} %)" for name, share in shares.items() if share > SMALLEST
        ],
        f"boxes whose longer side is more than {EXTREME} times the shorter one, after resizing": [
            label(box, box["box"]) for box in statistics["extreme_boxes"]
        ],
        f"classes too rare to measure (an interval of recall wider than {UNSURE})": [
            f"{rare['class']} in {rare['subset']}" for rare in statistics["rare"]
        ],
    }
    lines = [listed(what, items) if items else f"no {what}" for what, items in found.items()]
    for subset, values in statistics["subsets"].items():
        lines += [f"checking {subset}: {remark}" for remark in values["repairs"]]
    return lines
