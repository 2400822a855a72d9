"""What MMDetection is loaded without."""

import os
import subprocess
import sys

CODE = """
import sys
from detmake.model import network
from mmdet.registry import TRANSFORMS

assert not {"imgaug", "matplotlib", "sklearn", "torch.distributed.optim"} & sys.modules.keys()
resize = {"name": "Resize", "p": 1, "parameters": {"size": {"height": 8, "width": 8}}}
try:
    TRANSFORMS.build({"type": "ImageAug", "pipeline": [resize]})
except NotImplementedError as error:
    assert "imgaug.augmenters.Resize is not available" in str(error), error
else:
    raise AssertionError("built")
import matplotlib.pyplot
from sklearn.mixture import GaussianMixture
from torch.distributed.optim import ZeroRedundancyOptimizer

matplotlib.pyplot.figure()
"""


def test_it_raises_where_it_is_used_and_can_be_imported_later():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", CODE], check=True, env=environment)
