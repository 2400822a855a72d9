"""What figures speak of: models, annotations and a machine, by their digests and descriptions."""

import json
import subprocess

import pytest

from detmake.errors import InputError
from detmake.runtime import figures

XEON = """\
processor	: 0
vendor_id	: GenuineIntel
model name	: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags		: fpu sse4_2 avx2 avx512f avx512_vnni amx_bf16 amx_tile amx_int8 avx_vnni

processor	: 1
model name	: Another
flags		: fpu
"""
OLD = "model name\t: Intel(R) Core(TM) i5-4590\nflags\t\t: fpu sse4_2 avx2\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp sve i8mm bf16\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize(
    "text, name, instructions",
    [
        (
            XEON,
            "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
            ["amx_int8", "avx512_vnni", "avx_vnni"],
        ),
        (OLD, "Intel(R) Core(TM) i5-4590", []),
        (ARM, "a part", ["asimddp", "i8mm"]),
        ("", "a part", None),
    ],
    ids=["VNNI and AMX", "neither", "Arm", "unknown"],
)
def test_the_cpu(tmp_path, monkeypatch, text, name, instructions):
    monkeypatch.setattr(figures.platform, "processor", lambda: "a part")
    (tmp_path / "cpuinfo").write_text(text)
    expected = {"cpu": name, "int8_instructions": instructions}
    assert figures.cpu(tmp_path / "cpuinfo") == expected


def test_the_cpu_of_another_system(tmp_path, monkeypatch):
    monkeypatch.setattr(figures.platform, "processor", lambda: "")
    assert figures.cpu(tmp_path / "none") == {"cpu": None, "int8_instructions": None}


@pytest.fixture
def results(tmp_path):
    """Figures of an IR and of a snapshot, with what they speak of."""
    files = ("weights.pth", "predictions.json", "pot/openvino.xml", "pot/openvino.bin")
    for file in ("dataset/test.json", "pot/predictions.json", *files):
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(file)
    for folder, names in (("", ["weights.pth"]), ("pot", ["openvino.xml", "openvino.bin"])):
        model = [tmp_path / folder / name for name in names]
        predictions = tmp_path / folder / "predictions.json"
        content = figures.subject(model, tmp_path / "dataset/test.json", predictions, "cpu")
        (tmp_path / folder / "performance.json").write_text(json.dumps(content))
    return tmp_path


def misfits(results):
    return [figures.misfit(results / folder / "performance.json") for folder in ("", "pot")]


def test_figures_that_fit(results):
    assert misfits(results) == [None, None]
    assert misfits(results.rename(results.with_name("copied"))) == [None, None]


def test_another_model(results):
    (results / "pot/openvino.bin").write_text("other weights")
    problem = f"speaks of another model than {results}/pot/openvino.bin"
    assert misfits(results) == [None, problem]


def test_a_missing_model(results):
    (results / "weights.pth").unlink()
    assert misfits(results) == [f"model missing: {results}/weights.pth", None]


def test_other_annotations(results):
    (results / "dataset/test.json").write_text("other boxes")
    problem = f"speaks of another subset than {results}/dataset/test.json"
    assert misfits(results) == [problem, problem]


def test_other_predictions(results):
    (results / "pot/predictions.json").write_text("[]")
    problem = f"speaks of other predictions than {results}/pot/predictions.json"
    assert misfits(results) == [None, problem]


def test_figures_that_do_not_say(results):
    (results / "performance.json").write_text('{"f-measure": 0.8}')
    assert misfits(results) == ["does not say which model it speaks of", None]


def test_damaged_figures(results):
    (results / "performance.json").write_text('{"f-measure"')
    assert misfits(results)[0].startswith("cannot be read as JSON: ")


def test_digests_of_another_form(results):
    for recorded in ({"x": {}}, ["a"], "a", 1, {"model": ["a"]}, {"model": {"a": "b"}}):
        (results / "performance.json").write_text(json.dumps({"sha256": recorded}))
        assert misfits(results)[0].startswith("cannot be read: expected `sha256` to be a mapping")


def test_only_the_named_parts_are_compared(results):
    (results / "pot/predictions.json").unlink()
    (results / "dataset/test.json").unlink()
    assert figures.misfit(results / "pot/performance.json", ["model"]) is None


def test_changed_and_missing_files_are_named(tmp_path):
    """`sha256sum` writes the digests."""
    for name in ("a", "two words", "c"):
        (tmp_path / name).write_text(name)
    sums = subprocess.run(
        ["sha256sum", "a", "two words", "c"], cwd=tmp_path, capture_output=True, check=True
    )
    (tmp_path / "SHA256SUMS").write_bytes(sums.stdout)
    assert figures.changed_files(tmp_path / "SHA256SUMS", ["a"]) == []
    (tmp_path / "two words").write_text("three")
    (tmp_path / "c").unlink()
    assert figures.changed_files(tmp_path / "SHA256SUMS", ["a"]) == ["two words", "c"]


@pytest.mark.parametrize("content", [None, "no digest", "", f"{'0' * 64}  b\n"])
def test_digests_that_cannot_be_read_or_lack_a_file_are_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "SHA256SUMS").write_text(content)
    with pytest.raises(InputError, match="SHA256SUMS: expected the digests of the archive"):
        figures.changed_files(tmp_path / "SHA256SUMS", ["a"])


def test_figures_name_no_path_of_this_machine(results):
    """An archive ships these figures."""
    assert str(results) not in (results / "pot/performance.json").read_text()
