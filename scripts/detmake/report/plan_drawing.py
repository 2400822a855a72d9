"""Draw a plan as a self-contained SVG."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any
from xml.etree import ElementTree

from detmake.build.plan import Job, abridged, printable, shortened, summary
from detmake.report.layered_layout import layered_layout

# Lengths in pixels.
_WIDTH, _HEIGHT = 340, 62
_GAP_ACROSS, _GAP_DOWN, _MARGIN, _HEADING = 28, 46, 24, 58
# Characters of each line that fit into a box, even in a wide font.
_NAME_LENGTH, _FILE_LENGTH, _REASON_LENGTH = 44, 40, 54

# States differ by border and words too, for readers who do not see the colours.
_STYLE = """
text { fill: #1f2933; font: 12px Helvetica, Arial, "Liberation Sans", "DejaVu Sans", sans-serif }
.heading { font-size: 17px; font-weight: bold }
.name { font-weight: bold }
.file { fill: #46525f; font: 11px Menlo, Consolas, "DejaVu Sans Mono", monospace }
.reason { font-size: 11px; fill: #46525f }
.mark { fill: #46525f; text-anchor: end }
.stale .mark { fill: #7a2e00; font-weight: bold }
.stale .reason { fill: #7a2e00 }
.box { fill: #f4f6f8; stroke: #8a97a5; stroke-width: 1 }
.stale .box { fill: #fdf1da; stroke: #b34700; stroke-width: 2; stroke-dasharray: 7 3 }
.stale.cause .box { fill: #fbd38a; stroke-width: 3; stroke-dasharray: none }
.edge { fill: none; stroke: #8a97a5; stroke-width: 1.2 }
.edge.stale { stroke: #b34700; stroke-width: 2 }
"""
_ARROWS = "<defs>{}{}</defs>".format(
    *(
        f'<marker id="arrow-{kind}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9" '
        'markerHeight="9" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path d="M0 1 L10 5 L0 9 Z" fill="{colour}" /></marker>'
        for kind, colour in (("fresh", "#8a97a5"), ("stale", "#b34700"))
    )
)


def svg(jobs: Sequence[Job], title: str, subtitle: str | None = None) -> str:
    """Draw the jobs as boxes, from the first jobs at the top to the targets at the bottom.

    A box shows the job's name, its files and why it is stale; its tooltip has their full text.
    Jobs that are stale by themselves, jobs that follow from others, and jobs that are up to date
    differ by colour, border and words.

    Args:
        jobs: the jobs, with `needs` as indices into this sequence.
        title: heading of the picture.
        subtitle: line below it, for jobs that were run; None for a plan, which says how many jobs
            are to run, and what the colours mean.

    Returns:
        An SVG document with a group of class `job` for each job and a path of class `edge` for
        each of its `needs`. A group has the `id` job<index>; the attributes `data-from` and
            `data-to` of a path are the indices of the needed job and of the job that needs it.
    """
    layout = layered_layout({index: job.needs for index, job in enumerate(jobs)})
    points = [(0, 0), *layout.places.values(), *chain.from_iterable(layout.routes.values())]
    right, bottom = map(max, zip(*map(_corner, points), strict=True))
    width = max(right + _WIDTH + _MARGIN, 2 * _MARGIN + 640)  # room for the legend
    height = bottom + _HEIGHT + _MARGIN
    size = {"width": f"{width:.0f}", "height": f"{height:.0f}"}
    box = f"0 0 {width:.0f} {height:.0f}"
    root = ElementTree.Element(
        "svg", xmlns="http://www.w3.org/2000/svg", viewBox=box, **size, role="img"
    )
    below = summary(jobs) if subtitle is None else subtitle
    _element(root, "title", printable(f"{title}: {below}"))
    _element(root, "style", _STYLE)
    root.append(ElementTree.fromstring(_ARROWS))
    # A white background keeps the lines visible on a dark page.
    _element(root, "rect", width="100%", height="100%", rx="8", fill="#ffffff")
    _element(root, "text", printable(title), x=_MARGIN, y=34, class_="heading")
    _element(root, "text", below, x=_MARGIN, y=54)
    if subtitle is None:
        _legend(root, width - _MARGIN - 395)
    # Edges from stale jobs come last, on top of the others.
    for source, target in sorted(layout.routes, key=lambda edge: jobs[edge[0]].stale):
        route, stale = layout.routes[source, target], jobs[source].stale
        _element(
            root,
            "path",
            d=_path(route),
            class_="edge stale" if stale else "edge",
            marker_end=f"url(#arrow-{'stale' if stale else 'fresh'})",
            data_from=source,
            data_to=target,
        )
    for index, job in enumerate(jobs):
        _box(root, index, job, *_corner(layout.places[index]))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def of_steps(steps: Sequence[Mapping[str, Any]], title: str, subtitle: str) -> str:
    """Draw steps that were run (`detmake.build.provenance.steps`) as `svg` draws a plan."""
    parts = ("name", "files", "needs", "note")
    return svg([Job(**{part: step[part] for part in parts}) for step in steps], title, subtitle)


def _element(parent, tag: str, text: str | None = None, **attributes: object):
    # Keywords such as class_ and marker_end stand for class and marker-end.
    named = {name.rstrip("_").replace("_", "-"): str(value) for name, value in attributes.items()}
    element = ElementTree.SubElement(parent, tag, named)
    element.text = text
    return element


def _corner(place: tuple[float, int]) -> tuple[float, float]:
    """Return x and y of the upper left corner of a box, in pixels."""
    column, layer = place
    x = _MARGIN + column * (_WIDTH + _GAP_ACROSS)
    return x, _HEADING + _MARGIN + layer * (_HEIGHT + _GAP_DOWN)


def _path(route: Sequence[tuple[float, int]]) -> str:
    """Return an SVG path that is straight beside boxes and bends between layers."""
    (x, y), *others = [(x + _WIDTH / 2, y) for x, y in map(_corner, route)]
    y += _HEIGHT
    parts = [f"M{x:.1f} {y:.1f}"]
    for index, (to_x, to_y) in enumerate(others):
        middle = (y + to_y) / 2
        parts.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
        if index < len(others) - 1:
            y += _HEIGHT
            parts.append(f"V{y:.1f}")
    return " ".join(parts)


def _kind(job: Job) -> str:
    return "stale cause" if job.reasons else "stale" if job.stale else "fresh"


def _box(root, index: int, job: Job, x: float, y: float) -> None:
    group = _element(root, "g", id=f"job{index}", class_=f"job {_kind(job)}")
    files = "\n".join(map(printable, job.files))
    _element(group, "title", f"{printable(job.name)}\n{job.reason}\n{files}".strip())
    _element(
        group, "rect", class_="box", x=f"{x:.1f}", y=f"{y:.1f}", width=_WIDTH, height=_HEIGHT, rx=6
    )
    for offset, kind, line in (
        (20, "name", shortened(printable(job.name), _NAME_LENGTH)),
        (36, "file", abridged(job.files, _FILE_LENGTH)),
        (52, "reason", shortened(job.reason, _REASON_LENGTH)),
    ):
        _element(group, "text", line, class_=kind, x=f"{x + 10:.1f}", y=f"{y + offset:.1f}")
    _element(group, "text", job.mark, class_="mark", x=f"{x + _WIDTH - 10:.1f}", y=f"{y + 36:.1f}")


def _legend(root, x: float) -> None:
    for index, (kind, words) in enumerate(
        (("stale cause", "stale"), ("stale", "follows another job"), ("fresh", "up to date"))
    ):
        group = _element(root, "g", class_=kind)
        left = x + (0, 105, 285)[index]
        _element(group, "rect", class_="box", x=f"{left:.1f}", y=22, width=34, height=18, rx=4)
        _element(group, "text", words, x=f"{left + 44:.1f}", y=36)
