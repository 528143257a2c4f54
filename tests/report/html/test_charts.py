from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmtrt.report.html.axis import axis
from mmtrt.report.html.charts import Sample, bars, scatter_picture
from mmtrt.report.html.timeline import Span, timeline_picture

numbers = st.floats(0, 1e12, allow_nan=False).map(lambda x: round(x, 3))


@given(numbers, numbers)
def test_an_axis_holds_its_values_between_round_ends(a: float, b: float) -> None:
    low, high = sorted((a, b))
    scale = axis(low, high, 10, 110)
    assert scale.low <= low + 1e-6 * max(1, high) and high <= scale.high * (1 + 1e-9)
    assert scale.at(scale.low) == 10 and scale.at(scale.high) == pytest.approx(110)
    places = [tick.at for tick in scale.ticks]
    assert places == sorted(places) and 2 <= len(places) <= 12
    assert len({tick.text for tick in scale.ticks}) == len(places)


def test_ticks_are_numbers_that_people_use() -> None:
    assert [t.text for t in axis(0, 31.4, 0, 1, unit=" s").ticks] == [
        "0 s", "10 s", "20 s", "30 s", "40 s",
    ]  # fmt: skip
    assert [t.text for t in axis(0.5, 0.9, 0, 1).ticks] == ["0.5", "0.6", "0.7", "0.8", "0.9"]


points = st.lists(st.tuples(numbers, numbers, st.booleans()), min_size=1, max_size=25)


@given(points)
def test_labels_cover_neither_points_nor_each_other(rows: list[tuple[float, float, bool]]) -> None:
    samples = [Sample(str(i), f"int4_awq tp={i}", *row) for i, row in enumerate(rows)]
    picture = scatter_picture(samples, "MiB", "tokens/s")
    boxes = []
    for dot in picture.dots:
        assert picture.left <= dot.x <= picture.right and picture.top <= dot.y <= picture.bottom
        if dot.label is not None:
            x, y = dot.label.x, dot.label.y
            boxes.append((x, y - 10, x + dot.label.width, y + 2))
            assert x >= picture.left and y <= picture.bottom
    for a, b in combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    for box in boxes:
        for dot in picture.dots:
            assert not (box[0] < dot.x < box[2] and box[1] < dot.y < box[3])


def test_few_points_all_have_labels_and_the_front_a_line() -> None:
    rows = [(10.0, 1.0, True), (20.0, 3.0, True), (30.0, 2.0, False)]
    samples = [Sample(str(i), f"p{i}", *row) for i, row in enumerate(rows)]
    picture = scatter_picture(samples, "MiB", "tokens/s")
    assert all(dot.label for dot in picture.dots)
    first, second = picture.dots[:2]
    assert picture.front == f"M{first.x:g} {first.y:g} L{second.x:g} {second.y:g}"
    assert first.y > second.y >= picture.top  # more is higher
    assert scatter_picture(samples[:1], "x", "y").front == ""


def test_bars_are_shares_of_the_longest() -> None:
    chart = bars("decode", "", [("a", 50.0, "50", True), ("b", 200.0, "200", False)])
    assert [row.share for row in chart.rows] == [25.0, 100.0]
    assert bars("none", "", [("a", 0.0, "0", False)]).rows[0].share == 0


def test_a_timeline_has_a_bar_a_stage_in_its_time() -> None:
    picture = timeline_picture([Span("a", "done", 0, 10), Span("b", "hit", 10, 0)])
    first, second = picture.bars
    assert first.x + first.width == pytest.approx(second.x, abs=0.2)
    assert second.width > 0 and second.text == "hit" and first.text == "10 s"
    assert first.y + first.height <= second.y
    assert picture.height > second.y + second.height
