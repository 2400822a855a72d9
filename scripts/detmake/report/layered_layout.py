"""Lay out a directed acyclic graph in layers from top to bottom."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from sklearn.isotonic import isotonic_regression

Node = TypeVar("Node", bound=Hashable)

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


def layered_layout(needs: Mapping[Node, Sequence[Node]]) -> Layout:
    """Lay out a graph so that every edge goes down and few of them cross.

    The method is Sugiyama's: layers by the longest path, an order within them by barycenters, and
    columns by least squares. The edges of a node share one line until they separate.

    Args:
        needs: for each node, the nodes with an edge to it. The graph must have no cycles.
    """
    layer = _layers(needs)
    layers: list[list[Hashable]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    above: dict[Hashable, list[Hashable]] = defaultdict(list)
    passed: dict[tuple[Node, Node], list[Hashable]] = {}
    for node, place in layer.items():
        layers[place].append(node)
    for node, sources in needs.items():
        for source in sources:
            passed[source, node] = [
                _Passage(source, between) for between in range(layer[source] + 1, layer[node])
            ]
            chain = [source, *passed[source, node], node]
            for upper, lower in pairwise(chain):
                if upper not in above[lower]:
                    above[lower].append(upper)
    for passage in dict.fromkeys(passage for line in passed.values() for passage in line):
        layers[passage.layer].append(passage)
    below: dict[Hashable, list[Hashable]] = defaultdict(list)
    for lower, uppers in above.items():
        for upper in uppers:
            below[upper].append(lower)

    layers = _ordered(layers, above, below)
    column = _columns(layers, above, below)
    places = {node: (column[node], layer[node]) for node in needs}
    routes = {
        (source, node): [
            places[source],
            *((column[passage], passage.layer) for passage in line),
            places[node],
        ]
        for (source, node), line in passed.items()
    }
    return Layout(places, routes)


@dataclass(frozen=True)
class _Passage:
    """The point where the edges from a node pass a layer."""

    source: Hashable
    layer: int


def _layers(needs: Mapping[Node, Sequence[Node]]) -> dict[Node, int]:
    """Put each node below its needs; put one without needs just above its first user."""
    layer: dict[Node, int] = {}

    def descend(node: Node) -> int:
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
        sequence = range(1, len(layers)) if down else range(len(layers) - 2, -1, -1)
        for index in sequence:
            fixed = layers[index - 1 if down else index + 1]
            position = {node: place for place, node in enumerate(fixed)}
            neighbours = above if down else below
            own = {node: place for place, node in enumerate(layers[index])}

            def barycenter(node, own=own, neighbours=neighbours, position=position):
                places = [position[other] for other in neighbours.get(node, ())]
                return sum(places) / len(places) if places else own[node]

            layers[index].sort(key=barycenter)
        crossings = _crossings(layers, below)
        if crossings < fewest:
            best, fewest = layers, crossings
    return best


def _crossings(layers: Sequence[Sequence], below: Mapping) -> int:
    count = 0
    for upper, lower in pairwise(layers):
        position = {node: place for place, node in enumerate(lower)}
        ends = [
            (start, position[end])
            for start, node in enumerate(upper)
            for end in below.get(node, ())
        ]
        count += sum(
            (a - c) * (b - d) < 0 for index, (a, b) in enumerate(ends) for c, d in ends[index + 1 :]
        )
    return count


def _columns(layers: Sequence[Sequence], above: Mapping, below: Mapping) -> dict:
    """Place nodes near the mean column of their neighbours, in order and without overlap."""
    column: dict[Hashable, float] = {}
    offsets = []
    for nodes in layers:
        width = [_LINE if isinstance(node, _Passage) else 1.0 for node in nodes]
        offsets.append(np.cumsum([0.0, *((a + b) / 2 for a, b in pairwise(width))]))
        column |= dict(zip(nodes, offsets[-1] - offsets[-1][-1] / 2, strict=True))
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for index in range(len(layers))[:: 1 if down else -1]:
            nodes = layers[index]
            wanted = []
            for node in nodes:
                near = (above if down else below).get(node) or (below if down else above).get(node)
                wanted.append(np.mean([column[other] for other in near]) if near else column[node])
            # Least squares under minimum distances: the nearest positions that keep the order.
            placed = isotonic_regression(np.array(wanted) - offsets[index]) + offsets[index]
            column |= dict(zip(nodes, placed.tolist(), strict=True))
    left = min(column.values(), default=0.0)
    return {node: value - left for node, value in column.items()}
