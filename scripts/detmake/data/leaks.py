"""Find images of a subset that are in another subset, too: figures on them promise too much."""

from collections.abc import Mapping
from typing import Any

from detmake.data.findings import Findings


def check(
    coco: Mapping[str, Any], subset: str, others: Mapping[str, Mapping[str, Any]], on_leak: str
) -> list[str]:
    """Compare the image files of a prepared subset, by their SHA-256, with those of others.

    Args:
        coco: the prepared subset.
        subset: its name.
        others: other prepared subsets, by name.
        on_leak: what to do if all images of one subset are in another one, too: `fail` or `warn`.

    Returns:
        A remark for each subset that has images of this one.

    Raises:
        InputError: all images of one subset are in another one, and `on_leak` is `fail`.
    """
    findings = Findings(f"{coco['info']['annotation_file']} ({subset})")
    own = _names(coco)
    for other, other_coco in others.items():
        theirs = _names(other_coco)
        both = [f"{own[digest]} ({theirs[digest]})" for digest in own if digest in theirs]
        for inner, outer, images in ((subset, other, own), (other, subset, theirs)):
            if len(both) == len(images) and on_leak == "fail":
                findings.refuse(
                    f"images, all of the {inner} subset, that the {outer} subset has, too (leaks)",
                    both,
                    "Figures on images that a model learned from promise too much. Give each "
                    "subset images of its own. To build nevertheless, set data.on_leak: warn.",
                )
        findings.remark(f"images that the {other} subset has, too (leaks)", both)
    return findings.remarks


def _names(coco: Mapping[str, Any]) -> dict[str, str]:
    """Return the file names of a prepared subset by their SHA-256."""
    return {image["sha256"]: image["file_name"] for image in coco["images"]}
