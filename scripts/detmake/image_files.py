"""Which files count as images, told from their names."""

from pathlib import Path

#: Suffixes, in any case, of the files that count as images.
IMAGE_SUFFIXES = (
    *(".bmp", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm"),
    *(".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)


def is_image(path: Path) -> bool:
    """Whether a file counts as an image; another one of a demo is a video."""
    return path.name.lower().endswith(IMAGE_SUFFIXES)
