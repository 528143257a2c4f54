"""Read plain data (dicts, lists, scalars) into the dataclasses of the schema.

All mistakes are collected, none is mended: a number where text belongs was mangled by YAML
already (``1.10`` is 1.1, ``12e4567`` is infinity, ``no`` is false), so it is refused, not turned
back into text.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import types
import typing
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number, both allowed: ``Annotated[int, Range(1)]``."""

    low: float
    high: float = math.inf
    usual: float | None = None
    """What is proposed in place of a number out of bounds; the nearer bound where ``None``."""

    def message(self, value: float) -> str | None:
        """Return what is wrong with a number, ``None`` if it is within."""
        if value < self.low:
            return f"must be at least {_plain(self.low)}, not {value}"
        if value > self.high:
            return f"must be at most {_plain(self.high)}, not {value}"
        return None

    def nearest(self, value: float) -> str:
        """Return the usual number, or the nearest that would do."""
        near = self.low if value < self.low else self.high
        return _plain(near if self.usual is None else self.usual)


def _plain(number: float) -> str:
    """Return a number with all its digits where it is whole, so that it can be pasted."""
    return str(number) if isinstance(number, int) else f"{number:g}"


@dataclass(frozen=True, slots=True)
class Length:
    """How many items a list has: ``Annotated[list[int], Length(2)]``."""

    count: int

    def message(self, value: list[Any]) -> str | None:
        """Return what is wrong with a list, ``None`` if it has the right length."""
        if len(value) != self.count:
            return f"must have {self.count} items, not {len(value)}"
        return None

    def nearest(self, value: list[Any]) -> str:
        """Return the form of a list that would do."""
        return "[" + ",".join("1" * self.count) + "]"


KeyPath = tuple[str | int, ...]

NAMES: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
}
"""Scalar types in words."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One value that does not fit."""

    path: KeyPath
    kind: Literal["type", "unknown", "missing", "choice", "range"]
    message: str
    seen: Any = None
    choices: tuple[str, ...] = ()
    """Names that would have fitted, for the nearest-match hint; for ``range`` the nearest value."""
    wanted: str = ""
    """What the value must be, for kind ``type``: a value of :data:`NAMES`, or ``a list``, ..."""


def read(cls: type[T], data: Any, path: KeyPath = ()) -> tuple[T | None, list[Problem]]:
    """Return an instance of dataclass ``cls``, or ``None`` and every problem found."""
    problems: list[Problem] = []
    value = _read(cls, data, path, problems)
    return (None if problems else value), problems


def reread(
    cls: type[T], data: dict[str, Any], before: dict[str, Any], known: T
) -> tuple[T | None, list[Problem]]:
    """Return what :func:`read` would, given what it made of other data.

    Args:
        cls: a dataclass.
        data: shares the objects of ``before`` wherever nothing changed, and only there.
        before: data without problems.
        known: the instance read from ``before``; its parts are taken over where nothing changed.
    """
    problems: list[Problem] = []
    value = _read_dataclass(cls, data, (), problems, before, known)
    return (None if problems else value), problems


@cache
def field_types(cls: type) -> dict[str, Any]:
    """Return the evaluated annotations of a dataclass.

    ``typing.get_type_hints`` compiles every annotation anew, which takes longer than all the rest
    of a composition (*measured*: 12 ms for the schema; this, 1 ms).
    """
    found = {}
    for base in reversed(cls.__mro__):
        for name, annotation in getattr(base, "__annotations__", {}).items():
            found[name] = (
                _evaluated(annotation, base.__module__)
                if isinstance(annotation, str)
                else annotation
            )
    return found


@cache
def _evaluated(annotation: str, module: str) -> Any:
    """Return the type that an annotation of our own source code stands for."""
    return eval(annotation, vars(sys.modules[module]))


def dotted(path: KeyPath) -> str:
    """Return ``stages.convert.needs`` or ``run.image[1]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _read(kind: Any, data: Any, path: KeyPath, problems: list[Problem]) -> Any:
    if kind is Any:
        return data
    origin = typing.get_origin(kind)
    if origin is Annotated:
        return _read_bounded(kind, data, path, problems)
    if origin in (Union, types.UnionType):
        return _read_union(kind, data, path, problems)
    if origin is Literal:
        choices = typing.get_args(kind)
        if data in choices and type(data) in {type(c) for c in choices}:
            return data
        named = tuple(str(c) for c in choices)
        problems.append(Problem(path, "choice", f"must be one of {', '.join(named)}", data, named))
        return None
    if origin is list:
        if not isinstance(data, list):
            problems.append(_mismatch(path, "a list", data))
            return None
        (item,) = typing.get_args(kind)
        return [_read(item, each, (*path, i), problems) for i, each in enumerate(data)]
    if origin is dict:
        if not isinstance(data, dict):
            problems.append(_mismatch(path, "a mapping", data))
            return None
        name, item = typing.get_args(kind)
        result = {}
        for key, each in data.items():
            if not isinstance(key, str):
                problems.append(_mismatch((*path, str(key)), "a quoted name", key))
            elif name is not str and key not in (names := typing.get_args(name)):
                problems.append(Problem((*path, key), "unknown", "is no key here", each, names))
            else:
                result[key] = _read(item, each, (*path, key), problems)
        return result
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(typing.cast(type, kind), data, path, problems)
    return _read_scalar(kind, data, path, problems)


def _read_bounded(kind: Any, data: Any, path: KeyPath, problems: list[Problem]) -> Any:
    inner, *bounds = typing.get_args(kind)
    before = len(problems)
    value = _read(inner, data, path, problems)
    if len(problems) > before:
        return None
    for bound in bounds:
        if (message := bound.message(value)) is not None:
            problems.append(Problem(path, "range", message, data, (bound.nearest(value),)))
            return None
    return value


def _read_union(kind: Any, data: Any, path: KeyPath, problems: list[Problem]) -> Any:
    options = typing.get_args(kind)
    if data is None and type(None) in options:
        return None
    first: list[Problem] = []
    for option in options:
        if option is type(None):
            continue
        tried: list[Problem] = []
        value = _read(option, data, path, tried)
        if not tried:
            return value
        # A list offered to "text or list" is better explained by the list's own problem.
        if not first or (isinstance(data, list) and typing.get_origin(option) is list):
            first = tried
    problems.extend(first)
    return None


def _read_dataclass(
    cls: type,
    data: Any,
    path: KeyPath,
    problems: list[Problem],
    before: Any = None,
    known: Any = None,
) -> Any:
    if not isinstance(data, dict):
        problems.append(_mismatch(path, "a mapping", data))
        return None
    annotations = field_types(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    told = len(problems)
    old_data: dict[str, Any] = before if isinstance(before, dict) else {}
    values = {}
    for key, each in data.items():
        if key not in fields:
            problems.append(
                Problem((*path, str(key)), "unknown", "is no key here", each, tuple(fields))
            )
            continue
        inner, kind = old_data.get(key), annotations[key]
        if inner is each and key in old_data:
            values[key] = getattr(known, key)
        elif isinstance(inner, dict) and isinstance(kind, type) and dataclasses.is_dataclass(kind):
            old = getattr(known, key)
            values[key] = _read_dataclass(kind, each, (*path, key), problems, inner, old)
        else:
            values[key] = _read(kind, each, (*path, key), problems)
    for name, f in fields.items():
        has_default = (
            f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING
        )
        if name not in data and not has_default:
            problems.append(Problem((*path, name), "missing", "must be said"))
    return cls(**values) if len(problems) == told else None


def _read_scalar(kind: Any, data: Any, path: KeyPath, problems: list[Problem]) -> Any:
    if kind is float and isinstance(data, (int, float)) and not isinstance(data, bool):
        if math.isfinite(data):
            return float(data)
    elif isinstance(data, kind) and (kind is bool or not isinstance(data, bool)):
        return data
    name = NAMES[kind]
    if kind is float and isinstance(data, float):
        name = "a finite number"
    problems.append(_mismatch(path, name, data))
    return None


def _mismatch(path: KeyPath, wanted: str, seen: Any) -> Problem:
    message = f"must be {wanted}, not {described(seen)}"
    if wanted == "text" and isinstance(seen, (bool, int, float)):
        message += "; quote it, or YAML reads it as something else"
    return Problem(path, "type", message, seen, wanted=wanted)


def described(value: Any) -> str:
    """Return a value with its type, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {value!r}"
    return {"list": "a list", "dict": "a mapping"}.get(type(value).__name__, type(value).__name__)
