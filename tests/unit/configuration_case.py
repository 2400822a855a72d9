"""Templates and calls that the tests of the configuration share."""

from pathlib import Path

import pytest

from detmake.build import configuration
from detmake.errors import InputError

CONFIG = Path(__file__).parents[2] / "config"
SCHEMA = CONFIG.parent / "rules/schema.yaml"
TEMPLATES = CONFIG.parent / "templates"

DATA = {
    "train": {"ann-files": "train/_annotations.coco.json", "data-roots": "train"},
    "val": {"ann-files": "valid/_annotations.coco.json"},
}
TEMPLATE = """\
name: Small
id: Small_Detector
model: {type: ATSS, backbone: {type: MobileNetV2, out_indices: [2, 4]}}
pipeline: [{type: RandomFlip, prob: 0.5}]
optimizer: {type: AdamW, weight_decay: 5e-2}
"""


@pytest.fixture
def templates(tmp_path):
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "atss_mobilenetv2.yaml").write_text(
        TEMPLATE + "input_size: [512, 384]\nlearning_parameters: {learning_rate: 2e-3}\n"
    )
    (folder / "ssd_mobilenetv2.yaml").write_text(
        TEMPLATE.replace("Small", "Other") + "learning_parameters: {batch_size: 16}\n"
    )
    return folder


@pytest.fixture
def resolve(templates):
    def call(file_config=None, command_line=None):
        file_config = {"data": DATA} if file_config is None else file_config
        return configuration.resolve(file_config, command_line or {}, SCHEMA, templates)

    return call


@pytest.fixture
def problems(resolve):
    """Return the lines of the error, which there must be."""

    def call(file_config, command_line=None, with_data=True):
        file_config = {"data": DATA, **file_config} if with_data else file_config
        with pytest.raises(InputError) as caught:
            resolve(file_config, command_line)
        header, *lines = str(caught.value).splitlines()
        assert header.startswith("The configuration has ")
        return [line.strip() for line in lines]

    return call


def write_template(templates, text):
    path = templates / "bad.yaml"
    path.write_text(text)
    return path
