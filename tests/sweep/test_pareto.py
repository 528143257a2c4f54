"""The Pareto front against the definition, tried on every pair."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mmtrt.report.pareto import AXES, axes_of, front

FEW = st.sampled_from([None, 0, 1, 2, 3])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "status": st.sampled_from(["done", "done", "done", "failed"]),
            "accuracy": FEW,
            "decode_tokens_per_s": FEW,
            "engine_bytes": FEW,
        }
    ),
    max_size=12,
)


def by_definition(rows):
    """Return the front as the module's text defines it."""
    done = [row for row in rows if row["status"] == "done"]
    axes = [axis for axis in AXES if any(row[axis[0]] is not None for row in done)]

    def placed(row):
        return row["status"] == "done" and axes and all(row[name] is not None for name, _ in axes)

    def dominates(one, other):
        gains = [(one[n] - other[n]) * (1 if more else -1) for n, more in axes]
        return min(gains) >= 0 and max(gains) > 0

    return [
        bool(placed(row)) and not any(placed(each) and dominates(each, row) for each in rows)
        for row in rows
    ]


@given(ROWS)
def test_front_is_what_nothing_dominates(rows):
    assert front(rows) == by_definition(rows)


def test_accuracy_counts_where_it_was_measured():
    small = {"status": "done", "engine_bytes": 1, "decode_tokens_per_s": 9.0, "accuracy": 50.0}
    large = {"status": "done", "engine_bytes": 2, "decode_tokens_per_s": 5.0, "accuracy": 60.0}
    worse = {"status": "done", "engine_bytes": 2, "decode_tokens_per_s": 5.0, "accuracy": 40.0}
    assert front([small, large, worse]) == [True, True, False]
    assert [name for name, _ in axes_of([small])] == [name for name, _ in AXES]
    without = [{**row, "accuracy": None} for row in (small, large)]
    assert front(without) == [True, False]
