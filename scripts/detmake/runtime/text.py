"""Text in pictures, in the script of any class name that some installed font has."""

import logging
import os
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

log = logging.getLogger("detmake")

_NO_CHARACTER = "\uffff"  # Unicode promises never to assign it: fonts draw their sign for a gap
# Words in the file names of fonts that are hard to read in small labels.
_FANCY = ("bold", "black", "italic", "oblique", "light", "thin", "mono", "serif", "condensed")


@lru_cache(maxsize=4096)
def rendered(text: str, pixels: int) -> np.ndarray:
    """Return a line of text as the share of ink in each pixel.

    Characters that no installed font has appear as the font's sign for a gap, and a warning names
    them once.

    Args:
        text: the text; white space and control characters become single spaces.
        pixels: the size of the font.

    Returns:
        (H, W) uint8, 0 to 255; H depends on the font and its size alone.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split()) or " "
    font = _font(_file(frozenset(c for c in line if not c.isascii())), pixels)
    ascent, descent = font.getmetrics()
    picture = Image.new("L", (int(np.ceil(font.getlength(line))), ascent + descent))
    ImageDraw.Draw(picture).text((0, 0), line, fill=255, font=font)
    return np.asarray(picture)


@lru_cache(maxsize=64)
def _font(file: Path | None, pixels: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, pixels) if file else ImageFont.load_default(pixels)


@lru_cache(maxsize=256)
def _file(characters: frozenset[str]) -> Path | None:
    """Return the font that has most of some characters; None for Pillow's own, if that has them."""
    best, fewest = None, _missing(_font(None, 16), characters)
    for file in installed() if fewest else ():
        try:
            missing = _missing(_font(file, 16), characters)
        except OSError:  # not a font that FreeType reads
            continue
        if len(missing) < len(fewest):
            best, fewest = file, missing
        if not fewest:
            break
    _warn(fewest)
    return best


def _missing(font: ImageFont.FreeTypeFont, characters: frozenset[str]) -> frozenset[str]:
    gap = bytes(font.getmask(_NO_CHARACTER))
    return frozenset(c for c in characters if bytes(font.getmask(c)) == gap)


@lru_cache(maxsize=256)
def _warn(missing: frozenset[str]) -> None:
    if missing:
        log.warning(
            "No installed font has %s. Pictures show boxes instead. Install a font of this script, "
            "such as Noto Sans CJK for Chinese, Japanese and Korean",
            " ".join(sorted(missing)),
        )


@lru_cache(maxsize=1)
def installed() -> list[Path]:
    """Return the installed font files, plain sans-serif ones first."""
    home = Path.home()
    if sys.platform == "win32":
        folders = [Path(os.environ.get("WINDIR", r"C:\Windows"), "Fonts")]
        folders += [Path(os.environ.get("LOCALAPPDATA", home), "Microsoft/Windows/Fonts")]
    elif sys.platform == "darwin":
        folders = [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    else:  # as in the XDG Base Directory Specification
        data = os.environ.get("XDG_DATA_HOME") or home / ".local/share"
        others = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
        folders = [Path(folder, "fonts") for folder in (data, *others.split(":"))]
    files = [
        file
        for folder in folders
        for file in folder.rglob("*")
        if file.suffix.lower() in (".ttf", ".ttc", ".otf")
    ]

    def rank(file: Path) -> tuple[int, bool, str]:
        name = file.name.lower().replace("sansserif", "sans")
        return sum(word in name for word in _FANCY), "sans" not in name, str(file)

    return sorted(files, key=rank)
