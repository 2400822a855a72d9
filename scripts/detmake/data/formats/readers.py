"""The readers of all formats.

A reader is a module with two functions:

- `read(source, findings)` returns `Annotated`. It refuses what it cannot read, and remarks on what
  it leaves out.
- `image_files(source)` returns the names of the images, and of the label files that belong to
  single images, by folder, relative to `source.root`. Some of them may not exist. It is called
  while the Snakefile is read, so it opens no image and no label file.

For a format of `ONE_FILE`, `image_files` depends on the annotation file and the name of the root
alone, since what it returns is kept until that file changes.
"""

from detmake.data.annotated import Annotated, Source
from detmake.data.findings import Findings
from detmake.data.formats import coco, cvat, voc, yolo
from detmake.errors import InputError

READERS = {"coco": coco, "cvat": cvat, "voc": voc, "yolo": yolo}

#: Formats in which one file lists the images and holds all annotations.
ONE_FILE = {"coco", "cvat"}


def read(source: Source, findings: Findings) -> Annotated:
    """Read the annotations of a source. Raises InputError if they cannot be read."""
    try:
        return READERS[source.format].read(source, findings)
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}).") from error


def image_files(source: Source) -> dict[str, list[str]]:
    """Return images and label files by folder, relative to the root. May raise InputError."""
    return dict(READERS[source.format].image_files(source))
