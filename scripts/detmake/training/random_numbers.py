"""Random numbers that depend on nothing but what they are drawn for."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def drawn_for(*key: int) -> Iterator[None]:
    """Seed `random`, NumPy and torch with a key while the block runs; then restore their states.

    A GPU's generators are seeded, too, but not restored.

    Args:
        key: what to draw for, such as a seed, an epoch and an image; not negative.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    first, second, third = (int(word) for word in np.random.SeedSequence(key).generate_state(3))
    random.seed(first)
    np.random.seed(second)
    torch.manual_seed(third)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
