"""BCCD: the rules download it from a local server and convert it."""

import http.server
import os
import shutil
import threading
from functools import partial
from pathlib import Path

import pytest

BCCD = os.environ.get("DETMAKE_BCCD")

pytestmark = pytest.mark.skipif(
    not BCCD or not (Path(BCCD).parent / "bccd-voc-archive.zip").exists(),
    reason="DETMAKE_BCCD does not name a folder with BCCD and bccd-voc-archive.zip beside it",
)


@pytest.fixture
def url():
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=Path(BCCD).parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/bccd-voc-archive.zip"
        server.shutdown()


def configure(project, **changes):
    shutil.copy(project.folder / "config/bccd.yaml", project.folder / "config.yaml")
    with (project.folder / "config.yaml").open("a") as file:
        file.writelines(f"{key}: {value}\n" for key, value in changes.items())


@pytest.mark.slow
def test_bccd_is_downloaded_and_converted(project, url):
    configure(project, bccd_url=url)
    targets = [f"results/dataset/{split}.json" for split in ("train", "val", "test")]
    project.snakemake(*targets)
    counts = {"train": (255, 3448), "val": (73, 967), "test": (36, 471)}
    for split, target in zip(counts, targets, strict=True):
        coco = project.json(target)
        assert (len(coco["images"]), len(coco["annotations"])) == counts[split]
        assert [category["name"] for category in coco["categories"]] == ["Platelets", "RBC", "WBC"]
    remarks = project.json(targets[0])["info"]["remarks"]
    assert any(text.startswith("boxes without area, dropped: 2 (") for text in remarks)
    assert project.stale(*targets) == {}

    image = project.folder / "resources/bccd/valid/BloodImage_00000.jpg"
    image.write_bytes((image.parent / "BloodImage_00004.jpg").read_bytes())
    assert project.stale(*targets) == {"prepare_dataset": 2}  # test is compared with val


def test_a_failed_download_leaves_no_files(project, url):
    configure(project, bccd_url=url.replace("bccd-voc", "other"))
    output = project.snakemake("resources/bccd/valid/_annotations.coco.json", fails=True)
    assert "404" in output
    assert "Traceback" not in output
    assert not list((project.folder / "resources/bccd").glob("*"))


def test_data_on_disk_is_not_downloaded(project):
    configure(project)
    stale = project.stale("--config", f"data={BCCD}")
    assert "download_bccd" not in stale
    assert stale["prepare_dataset"] == 3
