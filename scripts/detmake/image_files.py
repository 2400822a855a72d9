"""Recognize image files by their names."""

from pathlib import Path

#: Suffixes of image files; case does not matter.
IMAGE_SUFFIXES = (
    *(".bmp", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm"),
    *(".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)


def is_image(path: Path) -> bool:
    """Tell whether a file is an image by its suffix."""
    return path.name.lower().endswith(IMAGE_SUFFIXES)
