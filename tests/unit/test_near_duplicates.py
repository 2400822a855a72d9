"""Near-duplicates are found without comparing all pairs."""

import itertools

import cv2
import numpy as np

from detmake.data import near_duplicates


def picture(seed: int) -> np.ndarray:
    """A smooth image with some shapes, in colour."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (12, 16, 3), np.uint8)
    return cv2.resize(small, (320, 240), interpolation=cv2.INTER_CUBIC)


def distance(one: np.ndarray, other: np.ndarray) -> int:
    hashes = [int(near_duplicates.dhash(pixels), 16) for pixels in (one, other)]
    return (hashes[0] ^ hashes[1]).bit_count()


def test_a_hash_survives_resizing_recompression_and_light_but_not_another_picture():
    original = picture(0)
    _, jpeg = cv2.imencode(".jpg", original, [cv2.IMWRITE_JPEG_QUALITY, 40])
    for changed in (
        cv2.resize(original, (200, 150)),
        cv2.imdecode(jpeg, cv2.IMREAD_COLOR),
        cv2.convertScaleAbs(original, alpha=0.8, beta=20),
        cv2.rectangle(original.copy(), (100, 100), (110, 112), (0, 0, 255), -1),
    ):
        assert distance(original, changed) <= near_duplicates.DISTANCE
    for seed in range(1, 20):
        assert distance(original, picture(seed)) > 20


def test_the_bits_are_those_of_neighbouring_areas():
    steps = np.repeat(np.arange(0, 90, 10, np.uint8), 8)
    ramp = np.repeat(steps[None], 72, axis=0)  # brighter to the right
    assert near_duplicates.dhash(np.dstack([ramp] * 3)) == "ff" * 8 + "00" * 8
    assert near_duplicates.dhash(np.dstack([ramp.T] * 3)) == "00" * 8 + "ff" * 8


def test_groups_are_those_of_all_pairs():
    rng = np.random.default_rng(0)
    hashes = [rng.bytes(16).hex() for _ in range(60)]
    for text in hashes[:20]:  # 1 to 12 bits of difference, on both sides of the limit
        for count in range(1, 13):
            mask = sum(1 << int(bit) for bit in rng.choice(128, count, replace=False))
            hashes.append(f"{int(text, 16) ^ mask:032x}")
    hashes += hashes[5:8]  # the same once more
    linked = {index: {index} for index in range(len(hashes))}
    for one, other in itertools.combinations(range(len(hashes)), 2):
        near = (int(hashes[one], 16) ^ int(hashes[other], 16)).bit_count()
        if near <= near_duplicates.DISTANCE and linked[one] is not linked[other]:
            linked[one] |= linked[other]
            for index in linked[other]:
                linked[index] = linked[one]
    expected = {tuple(sorted(group)) for group in linked.values() if len(group) > 1}
    found = near_duplicates.clusters(hashes)
    assert {tuple(group) for group in found} == expected
    assert len(found) == len(expected) >= 20


def test_nothing_and_single_images_have_no_groups():
    assert near_duplicates.clusters([]) == []
    assert near_duplicates.clusters(["0" * 32]) == []
    assert near_duplicates.clusters(["0" * 32, "f" * 32]) == []
