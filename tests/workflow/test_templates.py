"""Templates and backbones are trained, exported, evaluated and compared."""

import pandas as pd
import pytest
import yaml
from conftest import CONFIG, ROOT

import template_evidence

# The name that each template gives its model.
SHIPPED = {
    "atss_mobilenetv2": "ATSS-MobileNetV2",
    "rtmdet_tiny": "RTMDet-tiny",
    "ssd_mobilenetv2": "SSD-MobileNetV2",
    "yolox_nano": "YOLOX-nano",
    "yolox_nano_relu": "YOLOX-nano-ReLU",
    "yolox_tiny": "YOLOX-tiny",
}
NAMES = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))["name"]
    for path in sorted((ROOT / "templates").glob("*.yaml"))
} | SHIPPED
# Of templates that differ only in width and convolutions, one is built, to save time.
BUILT = {name: shown for name, shown in NAMES.items() if name not in ("yolox_nano", "yolox_tiny")}
# The base run has the default template; each other template is a run of the same name.
TEMPLATES = {
    "results" if template == "atss_mobilenetv2" else template: name
    for template, name in BUILT.items()
}
# YOLOX and RTMDet need few epochs. SSD needs more, and so may templates that detmake does not ship.
EPOCHS = {"yolox_nano_relu": 32, "rtmdet_tiny": 24}
RUNS = {
    template: {
        "template": template,
        "learning_parameters": CONFIG["learning_parameters"]
        | {"num_iters": EPOCHS.get(template, 80)},
    }
    for template in BUILT
    if template != "atss_mobilenetv2"
}
BACKBONES = {
    "resnet": {"type": "ResNet", "depth": 18, "base_channels": 16},
    "pvt": {"type": "PyramidVisionTransformerV2", "embed_dims": 16, "num_layers": [1, 1, 1, 1]},
}


@pytest.fixture(scope="module")
def compared(built_project, tmp_path_factory):
    """All templates as runs, built and compared. Not to be changed."""
    project = built_project.copy(tmp_path_factory.mktemp("compared") / "project")
    project.configure(runs=RUNS)
    project.measure_briefly()
    project.snakemake("results/comparison.csv")
    return project


@pytest.mark.slow
def test_the_comparison_has_every_model_of_every_run(compared):
    table = pd.read_csv(compared.folder / "results/comparison.csv")
    assert table.groupby("run").template.first().to_dict() == TEMPLATES
    assert table.groupby("run").model.agg(list).tolist() == len(BUILT) * [
        ["snapshot", "IR", "int8 (POT)"]
    ]
    for row in table.itertuples():
        folder = {"snapshot": "", "IR": "openvino/", "int8 (POT)": "pot/"}[row.model]
        run = "results" if row.run == "results" else f"results/{row.run}"
        assert row[4] == pytest.approx(
            compared.json(f"{run}/{folder}performance.json")["f-measure"], abs=1e-5
        )
    sizes = table.pivot(index="run", columns="model", values="size_mb")
    assert (sizes["int8 (POT)"] < 0.75 * sizes.IR).all()
    assert (0.75 * sizes.snapshot > sizes.IR).all()
    assert (table.latency_ms > 0).all()
    assert (table.images_per_second > 0).all()
    text = (compared.folder / "results/comparison.md").read_text()
    assert all(template in text for template in TEMPLATES.values())


@pytest.mark.slow
def test_every_template_learns(compared):
    table = pd.read_csv(compared.folder / "results/comparison.csv")
    measures = table.pivot(index="run", columns="model", values="f-measure")
    assert (measures.snapshot > 0.5).all()
    assert (measures.IR - measures.snapshot).abs().max() < 0.1  # one box is 0.05
    assert (measures["int8 (POT)"] - measures.snapshot).abs().max() < 0.15


@pytest.mark.slow
def test_the_evidence_is_what_the_build_measured(compared):
    found = template_evidence.measured(compared.folder / "results")
    snapshot = compared.json("results/performance.json")
    int8 = compared.json("results/pot/performance.json")
    assert found.keys() == set(template_evidence.MEASURED)
    for key in ("f-measure", "mAP50", "mAP"):
        assert found[key] == pytest.approx(snapshot[key], abs=1e-5)
    drop = snapshot["f-measure"] - int8["f-measure"]
    assert found["int8_drop"] == pytest.approx(drop, abs=1e-5)
    assert 0 < found["int8_ms"] < 1000
    assert 0 < found["minutes"] < 60


@pytest.mark.slow
def test_the_comparison_is_up_to_date(compared):
    assert compared.stale("results/comparison.csv") == {}


@pytest.mark.parametrize("run", BACKBONES)
@pytest.mark.slow
def test_another_backbone_is_trained_exported_and_evaluated(built, run):
    """The channels of the neck follow the backbone."""
    learning = {"num_iters": 1, "batch_size": 4}
    runs = {run: {"backbone": BACKBONES[run], "learning_parameters": learning}}
    built.configure(runs=runs)
    built.snakemake(f"results/{run}/openvino/performance.json", f"results/{run}/performance.json")
    folder = built.folder / "results" / run
    assert built.json(f"results/{run}/openvino/performance.json")["images"] == 6
    assert (folder / "weights.pth").stat().st_size > 0


@pytest.mark.slow
def test_an_unknown_backbone_is_refused(built):
    built.configure(runs={"other": {"backbone": {"type": "ResNet18"}}})
    output = built.snakemake("results/other/weights.pth", fails=True)
    assert "model.backbone.type: found ResNet18" in output
    assert "Traceback" not in output


def test_the_table_lists_every_template_without_data(project):
    project.configure(data="nowhere")
    output = project.snakemake("templates")
    table = [line.split() for line in output.splitlines() if line.endswith(".yaml")]
    assert [row[-1] for row in table] == [f"templates/{name}.yaml" for name in sorted(NAMES)]
    (atss,) = (row for row in table if row[-1] == "templates/atss_mobilenetv2.yaml")
    assert "Custom_Object_Detection_Gen3_ATSS" in atss
    assert "992×736" in atss
