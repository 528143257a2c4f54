from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from mmtrt.config import schema, typed
from mmtrt.config.typed import Problem, read


@dataclass(frozen=True, kw_only=True)
class Base:
    a: int = 1


@dataclass(frozen=True, kw_only=True)
class Point(Base):
    b: float
    c: Literal["x", "y"] | None = None
    d: str | list[str] | None = None
    e: dict[str, Base] = field(default_factory=dict)
    f: bool = False
    g: Any = None


def test_values_that_fit() -> None:
    value, problems = read(
        Point, {"a": 2, "b": 3, "c": "x", "d": ["p"], "e": {"k": {"a": 5}}, "f": True, "g": {1: 2}}
    )
    assert problems == []
    assert value == Point(a=2, b=3.0, c="x", d=["p"], e={"k": Base(a=5)}, f=True, g={1: 2})


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (
            {"b": "1"},
            Problem(("b",), "type", "must be a number, not the text '1'", "1", (), "a number"),
        ),
        (
            {"b": float("inf")},
            Problem(
                ("b",),
                "type",
                "must be a finite number, not the number inf",
                float("inf"),
                (),
                "a finite number",
            ),
        ),
        ({"b": 1, "z": 1}, Problem(("z",), "unknown", "is no key here", 1, ("a", *"bcdefg"))),
        ({}, Problem(("b",), "missing", "must be said")),
        ({"b": 1, "c": "z"}, Problem(("c",), "choice", "must be one of x, y", "z", ("x", "y"))),
        (
            {"b": 1, "a": True},
            Problem(
                ("a",),
                "type",
                "must be a whole number, not the truth value true",
                True,
                (),
                "a whole number",
            ),
        ),
        (
            {"b": 1, "e": {"k": {"a": 1.5}}},
            Problem(
                ("e", "k", "a"),
                "type",
                "must be a whole number, not the number 1.5",
                1.5,
                (),
                "a whole number",
            ),
        ),
        (
            {"b": 1, "d": ["p", None]},
            Problem(("d", 1), "type", "must be text, not null", None, (), "text"),
        ),
    ],
)
def test_one_value_that_does_not(data: dict[str, Any], problem: Problem) -> None:
    value, problems = read(Point, data)
    assert value is None
    assert problems == [problem]


def test_all_problems_are_found() -> None:
    _, problems = read(Point, {"a": "x", "f": 1, "q": 2})
    assert [p.path for p in problems] == [("a",), ("f",), ("q",), ("b",)]


def test_annotations_are_those_of_typing() -> None:
    for name in dir(schema):
        cls = getattr(schema, name)
        if dataclasses.is_dataclass(cls) and isinstance(cls, type):
            assert typed.field_types(cls) == typing.get_type_hints(cls, include_extras=True), name


def test_dotted() -> None:
    assert typed.dotted(("run", "image", 1)) == "run.image[1]"
    assert typed.dotted(()) == ""
