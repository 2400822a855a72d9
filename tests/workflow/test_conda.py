"""`snakemake --sdm conda`, with a small channel on this machine in place of conda-forge."""

import asyncio
import hashlib
import io
import json
import platform
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import Project
from rattler.index import index_fs
from rattler.platform import Subdir

pytestmark = pytest.mark.slow

CONDA = Path(__file__).with_name("local_conda.py")
TARGET = "results/dataset/train.json"


def write_package(channel: Path, name: str, release: str, root: Path, files: list[Path]) -> None:
    """Write a conda package of some files below a folder."""
    subdir = str(Subdir.current())
    index = {"name": name, "version": release, "build": "0", "build_number": 0, "subdir": subdir}
    paths = [
        {
            "_path": str(file.relative_to(root)),
            "path_type": "softlink" if file.is_symlink() else "hardlink",
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "size_in_bytes": file.stat().st_size,
        }
        for file in files
    ]
    information = {
        "info/index.json": json.dumps(index | {"depends": []}),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}),
    }
    with tarfile.open(channel / subdir / f"{name}-{release}-0.tar.bz2", "w:bz2") as archive:
        for path, text in information.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
        for file in files:
            archive.add(file, file.relative_to(root))


@pytest.fixture(scope="module")
def channels(tmp_path_factory) -> Path:
    """A folder with a channel conda-forge, which holds the Python of this machine and pip."""
    folder = tmp_path_factory.mktemp("channels")
    root = tmp_path_factory.mktemp("python")
    subprocess.run([sys.executable, "-m", "venv", root], check=True)
    files = [path for path in root.rglob("*") if path.is_symlink() or path.is_file()]
    of_pip = [path for path in files if path.is_relative_to(root / "lib")]
    channel = folder / "conda-forge"
    (channel / str(Subdir.current())).mkdir(parents=True)
    (channel / "noarch").mkdir()
    of_python = [root / "pyvenv.cfg", *(root / "bin").glob("python*")]
    write_package(channel, "python", platform.python_version(), root, of_python)
    write_package(channel, "pip", version("pip"), root, of_pip)
    asyncio.run(index_fs(channel))
    return folder


@pytest.fixture(scope="module")
def conda(channels, tmp_path_factory):
    """Put a stand-in for `conda` on the PATH, which installs from the local channel."""
    folder = tmp_path_factory.mktemp("base")
    (folder / "bin").mkdir()
    (folder / "bin/conda").write_text(f"#!{sys.executable}\n{CONDA.read_text()}")
    (folder / "bin/conda").chmod(0o755)
    (folder / "bin/activate").write_text('export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder / "bin"), prepend=":")
        patch.setenv("DETMAKE_CHANNELS", str(channels))
        patch.setenv("RATTLER_CACHE_DIR", str(folder / "cache"))
        yield


@pytest.fixture(scope="module")
def prepared(conda, template_project, tmp_path_factory) -> Project:
    """A project with one subset prepared in an environment that conda made."""
    project = template_project.copy(tmp_path_factory.mktemp("conda") / "project")
    with (project.folder / "scripts/prepare_dataset.py").open("a") as script:
        script.write("\nimport cv2, sys\nprint(sys.prefix, cv2.__file__, file=open('ran', 'w'))\n")
    project.snakemake(TARGET, "--sdm", "conda")
    return project


def test_a_step_runs_in_its_environment(prepared):
    prefix, module = (prepared.folder / "ran").read_text().split()
    (environment,) = (prepared.folder / ".snakemake/conda").glob("*_")
    assert Path(prefix) == environment
    assert Path(module).is_relative_to(environment)
    installed = {path.name.split("-")[0].lower() for path in environment.rglob("*.dist-info")}
    assert "opencv_python_headless" in installed
    assert "snakemake" not in installed


def test_a_result_depends_on_its_environment(prepared, tmp_path):
    conda = ["--sdm", "conda"]
    assert prepared.stale(TARGET, *conda) == {}
    assert prepared.stale(TARGET) == {"prepare_dataset": 1}
    others = ["--rerun-triggers", "mtime", "params", "input", "code"]
    assert prepared.stale(TARGET, *others) == {}
    moved = prepared.copy(tmp_path / "project")
    assert moved.stale(TARGET, *conda) == {"prepare_dataset": 1}
    assert moved.stale(TARGET, *conda, *others) == {}
    file = prepared.folder / "envs/data.yaml"
    text = file.read_text()
    file.write_text(text.replace("tqdm==", "tqdm>="))
    assert prepared.stale(TARGET, *conda) == {"prepare_dataset": 1}
    file.write_text(text)


def test_the_environments_of_other_steps_are_found(prepared):
    output = prepared.snakemake("results/nncf/performance.json", "--dry-run", "--sdm", "conda")
    for name in ("training", "inference", "nncf"):
        assert f"Conda environment envs/{name}.yaml will be created." in output
