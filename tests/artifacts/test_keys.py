from __future__ import annotations

import json
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmtrt.artifacts.keys import canonical, key_of, tree_hash
from mmtrt.errors import ArtifactError

TEXT = st.text(st.characters(codec="utf-8"))
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def test_keys_are_pinned() -> None:
    # A change here rebuilds every artifact of every user: bump KEY_VERSION and tell them.
    assert key_of({}) == "38d983706041003127541ef7d88b88d3ac2f05e99c0f8d4d5eacb0286dd345d2"
    assert (
        key_of({"schema": 1, "params": {"b": [1, 2.5, None, True], "a": "naïve-模型"}})
        == "74b7b0fb1993ce529e501bacfaadd54ba9a6dfd8f8b4c6ef682baf83f68aaa1b"
    )


def test_order_of_names_does_not_matter() -> None:
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, "1"), (1, True), (0, None), (1, 1.0), ([], {}), ("a", ["a"]), (None, "null")],
)
def test_types_do_not_meet(one: object, other: object) -> None:
    assert key_of({"x": one}) != key_of({"x": other})


def test_a_key_and_a_tree_never_share_a_hash() -> None:
    rows = [("a", 1, "b")]
    assert key_of(rows) != tree_hash(rows)  # type: ignore[arg-type]


class Dtype(str, Enum):
    half = "float16"


def test_tuples_and_string_enums_read_as_json_reads_them_back() -> None:
    assert key_of({"x": (1, Dtype.half)}) == key_of({"x": [1, "float16"]})


@pytest.mark.parametrize(
    ("value", "at", "why"),
    [
        ({"x": {1: "y"}}, "x", "1 is a name that is not a string"),
        ({"x": [0.0, float("nan")]}, "x[1]", "nan is not a number"),
        ({"x": float("-inf")}, "x", "-inf is not a number"),
        ({"x": {"y": {1, 2}}}, "x.y", "a set is nothing that JSON knows"),
        ({"x": "\udc80"}, "x", "'\\udc80' is not valid Unicode"),
        ({"\udc80": 1}, None, "'\\udc80' is not valid Unicode"),
        ({"x": b"bytes"}, "x", "a bytes is nothing that JSON knows"),
    ],
)
def test_what_would_not_come_back_is_refused(value: Any, at: str | None, why: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        key_of(value)
    assert (caught.value.code, caught.value.at, caught.value.why) == ("ART143", at, why)


@given(JSON)
def test_a_document_read_back_has_the_same_key(value: Any) -> None:
    document = {"x": value}
    assert key_of(json.loads(json.dumps(document))) == key_of(document)


@given(JSON)
def test_canonical_json_is_one_line_of_json(value: Any) -> None:
    text = canonical(value)
    assert json.loads(text) == value
    assert "\n" not in text
