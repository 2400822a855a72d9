"""Figures name the model and the annotations that they speak of, and `verify` checks them."""

import hashlib
import shutil

FILES = ("results/performance.json", "results/openvino/performance.json")


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_figures_say_what_they_speak_of(built_project):
    results = built_project.folder / "results"
    figures = [built_project.json(file) for file in FILES]
    subset = {"test.json": sha256(results / "dataset/test.json")}
    assert [item["sha256"]["subset"] for item in figures] == [subset, subset]
    snapshot, ir = (item["sha256"]["model"] for item in figures)
    assert snapshot == {"weights.pth": sha256(results / "weights.pth")}
    assert ir == {
        name: sha256(results / "openvino" / name) for name in ("openvino.xml", "openvino.bin")
    }
    torch, openvino = (item["measured_with"]["versions"] for item in figures)
    assert {"torch", "onedl-mmdetection"} <= torch.keys()
    assert "openvino" in openvino
    assert "torch" not in openvino


def test_verify(built, built_project):
    output = built.snakemake("verify")
    for file in (*FILES, "results/pot/performance.json"):
        assert f"{file}: ok" in output
    (built.folder / "results/pot/openvino.bin").write_bytes(b"other weights")
    output = built.snakemake("verify", fails=True)
    assert (
        "To measure again: snakemake -f results/pot/performance.json --configfile config.yaml"
        in output
    )
    shutil.copy(built_project.folder / "results/pot/openvino.bin", built.folder / "results/pot")

    (built.folder / "results").rename(built.folder / "copied")
    with (built.folder / "copied/openvino/openvino.bin").open("ab") as file:
        file.write(b"other weights")
    (built.folder / "copied/weights.pth").unlink()
    output = built.snakemake("verify", "--config", "verify=copied", fails=True)
    assert "copied/performance.json: model missing: copied/weights.pth" in output
    other = "speaks of another model than copied/openvino/openvino.bin"
    assert f"copied/openvino/performance.json: {other}" in output
    assert "copied/pot/performance.json: ok" in output
    assert "2 of 3 do not fit. Copy the whole folder again" in output
    assert "Traceback" not in output
    assert not (built.folder / "results").exists()
