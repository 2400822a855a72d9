"""Lay out a directed acyclic graph in layers from top to bottom."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, pairwise
from statistics import fmean

import numpy as np
from scipy.optimize import isotonic_regression

#: Number of sweeps over the layers, alternately down and up.
_SWEEPS = 12
#: Width of an edge that passes a layer, in node widths.
_LINE = 0.1


@dataclass(frozen=True)
class Layout:
    """Positions of nodes and edges.

    Attributes:
        places: (column, layer) of each node. Columns start at 0, in units of a node's width
            including its gap; two nodes of a layer are at least 1 apart. Layers count from 0.
        routes: for each edge (from, to), the (column, layer) where it starts, passes each layer
            in between, and ends. An edge crosses no node.
    """

    places: dict[Hashable, tuple[float, int]]
    routes: dict[tuple[Hashable, Hashable], list[tuple[float, int]]]


def layered_layout(needs: Mapping[Hashable, Sequence[Hashable]]) -> Layout:
    """Lay out a graph so that every edge goes down and few of them cross.

    The method is Sugiyama's: layers by the longest path, an order within them by barycenters, and
    columns by least squares. The edges of a node share one line until they separate.

    Args:
        needs: for each node, the nodes with an edge to it. The graph must have no cycles.
    """
    layer = _layers(needs)
    layers: list[list[Hashable]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    above: dict[Hashable, list[Hashable]] = defaultdict(list)
    below: dict[Hashable, list[Hashable]] = defaultdict(list)
    passages: dict[tuple[Hashable, Hashable], list[_Passage]] = {}
    for node, place in layer.items():
        layers[place].append(node)
    for node, sources in needs.items():
        for source in sources:
            between = range(layer[source] + 1, layer[node])
            passages[source, node] = [_Passage(source, place) for place in between]
            for upper, lower in pairwise([source, *passages[source, node], node]):
                if upper not in above[lower]:
                    above[lower].append(upper)
                    below[upper].append(lower)
    for passage in dict.fromkeys(chain.from_iterable(passages.values())):
        layers[passage.layer].append(passage)
    layers = _ordered(layers, above, below)
    column = _columns(layers, above, below)
    places = {node: (column[node], layer[node]) for node in needs}
    routes = {
        (source, node): [places[source], *((column[p], p.layer) for p in passed), places[node]]
        for (source, node), passed in passages.items()
    }
    return Layout(places, routes)


@dataclass(frozen=True)
class _Passage:
    """The point where the edges from a node pass a layer."""

    source: Hashable
    layer: int


def _layers(needs: Mapping[Hashable, Sequence[Hashable]]) -> dict[Hashable, int]:
    """Put each node below its needs; put one without needs just above its first user."""
    layer: dict[Hashable, int] = {}

    def descend(node: Hashable) -> int:
        if node not in layer:
            layer[node] = max((descend(source) + 1 for source in needs[node]), default=0)
        return layer[node]

    for node in needs:
        descend(node)
    for node in sorted(needs, key=lambda node: -layer[node]):
        users = [user for user, sources in needs.items() if node in sources]
        if users and not needs[node]:
            layer[node] = min(layer[user] for user in users) - 1
    return layer


def _ordered(layers: list[list], above: Mapping, below: Mapping) -> list[list]:
    """Order each layer by the mean position of its neighbours, up and down, and keep the best."""
    best, fewest = layers, _crossings(layers, below)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        layers = [list(nodes) for nodes in layers]
        neighbours = above if down else below
        for fixed, free in pairwise(layers if down else layers[::-1]):
            position = {node: place for place, node in enumerate(fixed)}
            barycenter = {
                node: fmean([position[other] for other in neighbours.get(node, ())] or [place])
                for place, node in enumerate(free)
            }
            free.sort(key=barycenter.get)
        crossings = _crossings(layers, below)
        if crossings < fewest:
            best, fewest = layers, crossings
    return best


def _crossings(layers: Sequence[Sequence], below: Mapping) -> int:
    count = 0
    for upper, lower in pairwise(layers):
        position = {node: place for place, node in enumerate(lower)}
        ends = [(a, position[end]) for a, node in enumerate(upper) for end in below.get(node, ())]
        count += sum((a - c) * (b - d) < 0 for (a, b), (c, d) in combinations(ends, 2))
    return count


def _columns(layers: Sequence[Sequence], above: Mapping, below: Mapping) -> dict:
    """Place nodes near the mean column of their neighbours, in order and without overlap."""
    column: dict[Hashable, float] = {}
    offsets = []
    for nodes in layers:
        width = [_LINE if isinstance(node, _Passage) else 1.0 for node in nodes]
        offsets.append(np.cumsum([0.0, *((a + b) / 2 for a, b in pairwise(width))]))
        column |= dict(zip(nodes, offsets[-1] - offsets[-1][-1] / 2, strict=True))
    steps = list(zip(layers, offsets, strict=True))
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        first, second = (above, below) if down else (below, above)
        for nodes, offset in steps if down else steps[::-1]:
            near = [first.get(node) or second.get(node) or [node] for node in nodes]
            wanted = [np.mean([column[other] for other in others]) for others in near]
            # Least squares under minimum distances: the nearest positions that keep the order.
            placed = isotonic_regression(np.array(wanted) - offset).x + offset
            column |= dict(zip(nodes, placed.tolist(), strict=True))
    left = min(column.values(), default=0.0)
    return {node: value - left for node, value in column.items()}
