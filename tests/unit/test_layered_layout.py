"""Layouts of directed acyclic graphs: no overlaps, and all edges go down."""

from itertools import pairwise

import numpy as np
import pytest

from detmake.report.layered_layout import layered_layout

CHAIN = {0: [], 1: [0], 2: [1]}
DIAMOND = {0: [], 1: [0], 2: [0], 3: [1, 2, 0]}
#: In the given order of nodes, the two edges cross.
CROSSED = {"a": [], "b": [], "x": ["b"], "y": ["a"]}


def random_graph(seed: int, nodes: int) -> dict[int, list[int]]:
    rng = np.random.default_rng(seed)
    return {
        node: sorted(rng.choice(node, size=min(node, int(rng.integers(0, 4))), replace=False))
        for node in range(nodes)
    }


GRAPHS = [
    CHAIN,
    DIAMOND,
    CROSSED,
    {0: []},
    *(random_graph(seed, 5 + 4 * seed) for seed in range(10)),
]


@pytest.mark.parametrize("needs", GRAPHS)
def test_nodes_do_not_overlap(needs):
    places = layered_layout(needs).places
    assert places.keys() == needs.keys()
    for node, (column, layer) in places.items():
        assert column >= 0
        for other, (other_column, other_layer) in places.items():
            if node != other and layer == other_layer:
                assert abs(column - other_column) > 0.999


@pytest.mark.parametrize("needs", GRAPHS)
def test_edges_go_down_layer_by_layer_and_pass_no_node(needs):
    layout = layered_layout(needs)
    assert layout.routes.keys() == {(source, node) for node in needs for source in needs[node]}
    for (source, node), route in layout.routes.items():
        assert (route[0], route[-1]) == (layout.places[source], layout.places[node])
        assert all(lower[1] == upper[1] + 1 for upper, lower in pairwise(route))
        for column, layer in route[1:-1]:
            for other_column, other_layer in layout.places.values():
                assert layer != other_layer or abs(column - other_column) > 0.5


def test_avoidable_crossings_are_avoided():
    places = layered_layout(CROSSED).places
    assert (places["a"][0] < places["b"][0]) == (places["y"][0] < places["x"][0])


def test_a_chain_is_straight():
    assert layered_layout(CHAIN).places == {0: (0, 0), 1: (0, 1), 2: (0, 2)}


def test_a_node_without_needs_is_just_above_its_user():
    places = layered_layout({"a": [], "b": ["a"], "c": ["b", "late"], "late": []}).places
    assert places["late"][1] == 1


def test_an_empty_graph():
    assert layered_layout({}).places == {}
