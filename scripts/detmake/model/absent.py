"""Imports of MMDetection that detmake leaves out: they take as long as all the others."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

# MMEngine and MMDetection expect that these may not be installed.
_OPTIONAL = ("torch.distributed.optim", "sklearn.mixture", "sklearn.gaussian_process")
# These draw tracks and augment lane lines.
_UNUSED = (
    "imgaug",
    "imgaug.augmenters",
    "imgaug.augmentables.lines",
    "imgaug.augmentables.segmaps",
    "matplotlib",
    "matplotlib.colors",
    "matplotlib.patches",
    "matplotlib.pyplot",
)


@contextmanager
def left_out() -> Iterator[None]:
    """Import MMDetection in this block, and it is loaded without what detmake does not use.

    Modules that are loaded already are kept. Afterwards, each of the others can be imported.
    """
    # None makes an import fail as if the module were not installed.
    absent = dict.fromkeys(_OPTIONAL) | {name: _Absent(name) for name in _UNUSED}
    absent = {name: module for name, module in absent.items() if name not in sys.modules}
    sys.modules.update(absent)
    # Looking for garbage takes a fifth of the time of these imports, and what they load is to stay.
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        for name in absent:
            del sys.modules[name]


class _Absent(ModuleType):
    """Stands in for a module and for all that is in it; a call raises."""

    def __getattr__(self, name: str) -> "_Absent":
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(f"{self.__name__}.{name}")

    def __call__(self, *args: object, **kwargs: object) -> None:
        raise NotImplementedError(
            f"{self.__name__} is not available: detmake loads MMDetection without it, since no "
            "detector needs it. Use another augmentation in its place."
        )
