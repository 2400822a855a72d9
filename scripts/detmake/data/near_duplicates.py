"""Find images that look nearly the same, such as frames of one video, by perceptual hashes."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

#: Bits in which the hashes of near-duplicates differ, at most; of 128.
DISTANCE = 7
#: Columns and rows that are compared with the next one.
_SIDE = 8


def dhash(pixels: np.ndarray) -> str:
    """Return the difference hash of an image: which of neighbouring areas is brighter.

    The hash is Neal Krawetz's dHash (hackerfactor.com, "Kind of Like That", 2013), of rows and of
    columns. Resizing, recompressing and other brightness hardly change it.

    Args:
        pixels: (H, W, 3) uint8, BGR.

    Returns:
        32 hexadecimal digits: 64 bits of 8 rows, from left to right, and 64 of 8 columns.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    rows = cv2.resize(grey, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA)
    columns = cv2.resize(grey, (_SIDE, _SIDE + 1), interpolation=cv2.INTER_AREA)
    brighter = [rows[:, 1:] > rows[:, :-1], columns[1:] > columns[:-1]]
    return np.packbits(brighter).tobytes().hex()


def clusters(hashes: Sequence[str]) -> list[list[int]]:
    """Return groups of images whose hashes differ in few bits, or are linked by such images.

    Hashes are compared only if one of their eight bands of 16 bits is the same: of two that differ
    in seven bits or less, one band must be. So the time grows with the images, not with
    their square, as long as most images differ.

    Args:
        hashes: of `dhash`.

    Returns:
        Indices of each group of two images or more, ascending; groups by their first image.
    """
    different, number = np.unique(list(hashes), return_inverse=True)
    words = np.array([list(bytes.fromhex(text)) for text in different], np.uint8)
    leaders = list(range(len(different)))  # of each hash, one of its group; leaders lead themselves

    def leader(index: int) -> int:
        while leaders[index] != index:
            leaders[index] = leaders[leaders[index]]
            index = leaders[index]
        return index

    for first, second in _near(words):
        leaders[leader(second)] = leader(first)
    groups: dict[int, list[int]] = defaultdict(list)
    for index, hash_number in enumerate(number.tolist()):
        groups[leader(hash_number)].append(index)
    return [group for group in groups.values() if len(group) > 1]


def _near(hashes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield pairs of hashes, (N, 16) uint8, that differ in few bits; some of them repeatedly."""
    words, bands = hashes.view(np.uint64), hashes.view(np.uint16)
    for band in bands.T:
        order = np.argsort(band, kind="stable")
        # Compare each hash with the next one of the same band, then the one after that, and so on.
        first, step = np.arange(len(order)), 0
        while len(first):
            step += 1
            first = first[first + step < len(order)]
            first = first[band[order[first]] == band[order[first + step]]]
            one, other = order[first], order[first + step]
            bits = np.bitwise_count(words[one] ^ words[other]).sum(axis=1)
            near = bits <= DISTANCE
            yield from zip(one[near].tolist(), other[near].tolist(), strict=True)
