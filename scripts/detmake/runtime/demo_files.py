"""Files of a demo's source, found without opening them."""

from glob import glob, has_magic
from pathlib import Path

from detmake.errors import InputError
from detmake.image_files import IMAGE_SUFFIXES, is_image


def is_camera(source: str) -> bool:
    """Return whether a source is the index of a camera, and not the name of a file or folder."""
    return source.isdecimal() and not Path(source).exists()


def files_of(source: str) -> list[Path]:
    """Return the files of a source, sorted.

    Args:
        source: path of an image, a video or a folder of images, or a pattern such as
            `images/*.jpg`, in which `**` matches any folders.

    Raises:
        InputError: there are no such files.
    """
    path = Path(source)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if is_image(file))
        expected = f"an image in it ({' '.join(IMAGE_SUFFIXES)})"
    elif path.exists() or not has_magic(source):
        files = [path] if path.is_file() else []
        expected = "an image, a video, a folder of images, a pattern or the index of a camera"
    else:
        files = sorted(file for file in map(Path, glob(source, recursive=True)) if is_image(file))
        expected = "images that it matches"
    if not files:
        raise InputError(
            f"{source}: expected {expected}, found none. Relative paths count from {Path.cwd()}."
        )
    return files
