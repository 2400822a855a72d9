"""The report in Chromium: nothing is loaded, nothing fails, everybody can read it."""

import shutil

import debian
import pytest
from report_case import ASSETS, HOSTILE, PROVENANCE, write_run

from detmake.evaluation import bootstrap
from detmake.report import page, run

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not shutil.which("chromium") and not debian.can_install(),
        reason="Chromium is missing: apt-get install chromium",
    ),
]
CASES = {
    "hostile": {"classes": HOSTILE, "images": 30, "side": 1000},
    "one": {"classes": ["red"], "nncf": False},
    "eighty": {"classes": [f"class {k}" for k in range(80)]},
    "nothing found": {"classes": ["red", "white"], "found": False},
    "nothing built": None,
}


@pytest.fixture(scope="module")
def browser():
    if not shutil.which("chromium"):
        debian.install("chromium")
    with sync_api.sync_playwright() as playwright:
        program = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module", params=CASES)
def file(request, tmp_path_factory, monkeypatch_module):
    folder, case = tmp_path_factory.mktemp("report"), CASES[request.param]
    results = write_run(folder, **case) if case else folder / "results"
    monkeypatch_module.setattr(bootstrap, "RESAMPLES", 20)
    html = page.render(run.read(results), ASSETS, PROVENANCE).html
    assert len(html.encode()) < 5_000_000
    (folder / "report.html").write_text(html, encoding="utf-8")
    return folder / "report.html"


def opened(browser, file, width=1600, scheme="light"):
    """Open a page; return it with what it said and asked for."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    shown, events = context.new_page(), []
    shown.on("console", lambda message: events.append(message.text))
    shown.on("pageerror", lambda error: events.append(str(error)))
    shown.on("dialog", lambda dialog: events.append(dialog.message))
    shown.on(
        "request", lambda request: request.url.startswith("data:") or events.append(request.url)
    )
    shown.goto(file.as_uri())
    return shown, events


@pytest.mark.parametrize(("width", "scheme"), [(400, "light"), (1600, "dark")])
def test_it_is_legible(browser, file, width, scheme):
    shown, events = opened(browser, file, width, scheme)
    assert events == [file.as_uri()]
    assert shown.evaluate("document.documentElement.scrollWidth") == width
    found = axe.Axe().run(shown)
    problems = [
        (violation["id"], node["html"][:200])
        for violation in found.response["violations"]
        for node in violation["nodes"]
    ]
    assert problems == []
    shown.context.close()


def test_the_gallery_by_keyboard(browser, file):
    shown, events = opened(browser, file)
    pairs = shown.locator(".pair")
    if not pairs.count():
        assert shown.locator(".open:visible").count() == 0
        return
    shown.locator("select[name=error]").select_option("missed")
    missed = shown.locator(".pair:visible")
    assert 0 < missed.count() <= pairs.count()
    assert all("missed" in one.get_attribute("data-errors").split() for one in missed.all())
    shown.locator("input[name=boxes]").focus()
    shown.keyboard.press("Space")
    assert not shown.locator(".boxes").first.is_visible()
    shown.keyboard.press("Space")
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.className") == "open"
    shown.keyboard.press("Enter")
    assert shown.locator("dialog svg").count() == 2
    assert shown.locator("dialog").is_visible()
    shown.keyboard.press("Escape")
    assert not shown.locator("dialog").is_visible()
    assert events == [file.as_uri()]
    shown.context.close()
