"""Tiles: where a large image is cut, so that small objects survive the resizing to the network."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

#: A part of an image: left, top, right and bottom in pixels.
Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class Tiling:
    """How images are cut into tiles.

    Attributes:
        size: width and height of a tile, in pixels of the image. It has the proportions of the
            network's input, to which each tile is resized.
        overlap: the least share of a tile's width and height that it has in common with its
            neighbour, from 0 to below 1.
        whole_image: whether a detector looks at the whole image, too.
    """

    size: tuple[int, int]
    overlap: float
    whole_image: bool

    @classmethod
    def described(cls, description: Mapping[str, Any] | None) -> "Tiling | None":
        """Return the tiling of which `describe` made a description; None for None."""
        if description is None:
            return None
        return cls(**{**description, "size": tuple(description["size"])})

    def describe(self) -> dict[str, Any]:
        """Return JSON values: `size` (a list), `overlap` and `whole_image`."""
        return {**asdict(self), "size": list(self.size)}

    @property
    def common(self) -> tuple[int, int]:
        """Width and height that neighbours have in common at least, in pixels of the image.

        Each object that is not larger is whole in some tile.
        """
        width, height = (side - _step(side, self.overlap) for side in self.size)
        return width, height

    def windows(self, width: int, height: int) -> list[Window]:
        """Return the parts of an image that a detector looks at.

        Tiles are evenly spread from border to border, row by row. If the whole image counts, too,
        it comes last. An image that is not larger than a tile is not cut.

        Args:
            width: of the image, in pixels.
            height: likewise.
        """
        (columns, tile_width), (rows, tile_height) = (
            (_starts(side, tile, self.overlap), min(side, tile))
            for side, tile in zip((width, height), self.size, strict=True)
        )
        tiles = [(x, y, x + tile_width, y + tile_height) for y in rows for x in columns]
        whole = [(0, 0, width, height)] if self.whole_image and len(tiles) > 1 else []
        return tiles + whole


def _step(tile: int, overlap: float) -> int:
    """Return the largest distance of two neighbours in pixels."""
    return max(1, math.floor(tile * (1 - overlap) + 1e-9))


def _starts(side: int, tile: int, overlap: float) -> Sequence[int]:
    """Return where tiles begin along one side of an image, in pixels."""
    if side <= tile:
        return [0]
    gaps = math.ceil((side - tile) / _step(tile, overlap))
    return [round(number * (side - tile) / gaps) for number in range(gaps + 1)]
