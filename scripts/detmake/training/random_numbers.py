"""Random numbers that depend on nothing but what they are drawn for."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def drawn_for(purpose: str, *numbers: int) -> Iterator[None]:
    """Seed `random`, NumPy and torch while the block runs; then restore their states.

    A GPU's generators are seeded, too, but not restored.

    Args:
        purpose: a word; other purposes have other random numbers.
        numbers: all that the random numbers depend on, such as a seed, an epoch and an image; not
            negative.
    """
    states = random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()
    sequence = np.random.SeedSequence([*purpose.encode(), *numbers])
    first, second, third = (int(word) for word in sequence.generate_state(3))
    random.seed(first)
    np.random.seed(second)
    torch.default_generator.manual_seed(third)  # torch.manual_seed is slow
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(third)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
