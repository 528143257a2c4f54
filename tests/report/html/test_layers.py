from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmtrt.report.html.graph import Stage, graph_picture, shortened
from mmtrt.report.html.layers import Sizes, lay_out


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    count = draw(st.integers(1, 16))
    needs = {
        f"n{i}": [f"n{j}" for j in draw(st.sets(st.integers(0, i - 1), max_size=3))] if i else []
        for i in range(count)
    }
    order = draw(st.permutations(list(needs)))
    return {name: needs[name] for name in order}


@given(graphs())
def test_no_two_boxes_overlap_and_all_lie_inside(needs: dict[str, list[str]]) -> None:
    layout = lay_out(needs)
    assert {place.id for place in layout.places} == set(needs)
    for place in layout.places:
        assert place.x >= 0 and place.x + place.width <= layout.width + 0.2
        assert place.y >= 0 and place.y + place.height <= layout.height
    for a, b in combinations(layout.places, 2):
        beside = a.x + a.width < b.x or b.x + b.width < a.x
        assert beside or a.y != b.y
        assert a.y == b.y or abs(a.y - b.y) >= a.height


@given(graphs())
def test_edges_go_down_from_box_to_box_and_through_none(needs: dict[str, list[str]]) -> None:
    layout = lay_out(needs)
    boxes = {place.id: place for place in layout.places}
    assert {(r.source, r.target) for r in layout.routes} == {
        (before, name) for name in needs for before in needs[name]
    }
    for route in layout.routes:
        source, target = boxes[route.source], boxes[route.target]
        middle = (source.x + source.width / 2, source.y + source.height)
        assert route.points[0] == pytest.approx(middle, abs=0.2)
        assert route.points[-1] == pytest.approx((target.x + target.width / 2, target.y), abs=0.2)
        for (x0, y0), (x1, y1) in pairwise(route.points):
            assert y0 < y1
            for box in layout.places:
                # A piece beside a row is straight; the others lie between two rows.
                if y0 < box.y + box.height and y1 > box.y:
                    assert x0 == x1
                    assert not box.x <= x0 <= box.x + box.width


def test_a_chain_is_straight_and_a_diamond_symmetric() -> None:
    chain = lay_out({"a": [], "b": ["a"], "c": ["b"]})
    assert len({place.x for place in chain.places}) == 1
    diamond = {p.id: p for p in lay_out({"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}).places}
    assert diamond["a"].x == pytest.approx((diamond["b"].x + diamond["c"].x) / 2, abs=0.2)
    assert diamond["a"].x == pytest.approx(diamond["d"].x, abs=0.2)


def test_crossings_that_need_not_be_are_undone() -> None:
    layout = lay_out({"a": [], "b": [], "x": ["b"], "y": ["a"]})
    at = {place.id: place.x for place in layout.places}
    assert (at["a"] < at["b"]) == (at["y"] < at["x"])


def test_strangers_are_passed_over_and_circles_refused() -> None:
    assert [place.id for place in lay_out({"a": ["gone"]}).places] == ["a"]
    with pytest.raises(ValueError, match="circle"):
        lay_out({"a": ["b"], "b": ["a"]})
    empty = lay_out({})
    assert (empty.places, empty.routes) == ((), ())


def test_sizes_are_kept() -> None:
    layout = lay_out({"a": [], "b": []}, Sizes(width=50, height=20, gap=5))
    first, second = layout.places
    assert second.x - first.x == 55
    assert layout.height == 20 + 2 * Sizes().margin


def test_long_names_keep_both_ends() -> None:
    assert shortened("build_llm", 19) == "build_llm"
    assert shortened("llava_next-int8_wo-build_llm", 19) == "llava_nex…build_llm"
    picture = graph_picture([Stage("x" * 40, "done", note="1 s"), Stage("y", "hit", ["x" * 40])])
    assert len(picture.boxes[0].title) == 19
    assert picture.boxes[0].id == "x" * 40
    assert len(picture.edges) == 1 and picture.edges[0].startswith("M")
