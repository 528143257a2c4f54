"""The keys that a command line may set.

Their table is derived from :class:`mmtrt.config.schema.Settings`, so it cannot drift.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union

from mmtrt.config import typed
from mmtrt.config.overrides import GROUPS


@dataclass(frozen=True, slots=True)
class FlatKey:
    """One key that people type."""

    name: str
    kind: str
    """What its value must be, in words."""
    choices: tuple[str, ...] = ()
    """Every value that fits, where there are few."""
    default: Any = None


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """How far a key leads into the schema."""

    known: tuple[str, ...]
    """The parts that exist."""
    choices: tuple[str, ...]
    """What could have stood where the first unknown part stands; empty if all parts exist."""
    ok: bool
    free: tuple[int, ...] = ()
    """Indices of the parts that the schema leaves open, such as a variant's name."""


@cache
def flat_keys() -> dict[str, FlatKey]:
    """Return the table of keys by name; the keys inside of a recipe are not among them."""
    found: dict[str, FlatKey] = {}
    _collect(_settings(), "", found)
    return found


def _settings() -> type:
    """Import the schema when it is needed: its dataclasses take a third of what ``ls`` takes."""
    from mmtrt.config.schema import Settings

    return Settings


def _collect(cls: type, prefix: str, found: dict[str, FlatKey]) -> None:
    kinds = typed.field_types(cls)
    for f in dataclasses.fields(cls):
        name = prefix + f.name
        options = _options(kinds[f.name])
        inner = next((o for o in options if dataclasses.is_dataclass(o)), None)
        if not prefix and f.name in GROUPS:
            found[name] = FlatKey(name, f"the name of a {f.name}")
            if f.name == "recipe":
                continue
        if isinstance(inner, type):
            _collect(inner, f"{name}.", found)
        elif not (prefix and prefix[:-1] in GROUPS and f.name == "name"):
            default = None if f.default is dataclasses.MISSING else f.default
            found[name] = FlatKey(name, _in_words(options), _choices(options), default)


def check(parts: Sequence[str]) -> KeyCheck:
    """Follow the parts of a dotted key into the schema."""
    kinds: tuple[Any, ...] = (_settings(),)
    free: list[int] = []
    for depth, part in enumerate(parts):
        inside = [_step(kind, part) for kind in kinds]
        hits = [hit for hit in inside if hit is not None]
        if not hits:
            names = tuple(
                f.name
                for kind in kinds
                if dataclasses.is_dataclass(kind)
                for f in dataclasses.fields(kind)
            )
            return KeyCheck(tuple(parts[:depth]), names, False, tuple(free))
        kind, is_free = hits[0]
        if is_free:
            free.append(depth)
        kinds = _options(kind)
    return KeyCheck(tuple(parts), (), True, tuple(free))


def kind_of(path: Sequence[str | int]) -> str:
    """Return in words what the value at a key must be; empty where the schema does not say."""
    kinds = _options(_type_at(path))
    return _in_words(kinds) if kinds != (Any,) else ""


def length_of(path: Sequence[str | int]) -> int:
    """Return how many items the list at a key must have; 1 where the schema does not say."""
    members = typing.get_args(_type_at(path)) or ()
    for each in (_type_at(path), *members):
        for bound in getattr(each, "__metadata__", ()):
            if isinstance(bound, typed.Length):
                return bound.count
    return 1


def _type_at(path: Sequence[str | int]) -> Any:
    found: Any = _settings()
    for part in path:
        hits = [hit for kind in _options(found) if (hit := _step(kind, str(part))) is not None]
        if not hits:
            return Any
        found = hits[0][0]
    return found


def _step(kind: Any, part: str) -> tuple[Any, bool] | None:
    """Return the type behind one part of a key, and whether any name would have done."""
    if kind is Any:
        return Any, True
    if dataclasses.is_dataclass(kind):
        types_by_name = typed.field_types(typing.cast(type, kind))
        return (types_by_name[part], False) if part in types_by_name else None
    origin = typing.get_origin(kind)
    if origin is dict:
        return typing.get_args(kind)[1], True
    if origin is list and part.isdigit():
        return typing.get_args(kind)[0], False
    return None


def _options(kind: Any) -> tuple[Any, ...]:
    """Return the members of a union without ``None``, else the type alone; bounds are left out."""
    if typing.get_origin(kind) in (Union, types.UnionType):
        members = (o for o in typing.get_args(kind) if o is not type(None))
        return tuple(o for member in members for o in _options(member))
    if typing.get_origin(kind) is Annotated:
        return _options(typing.get_args(kind)[0])
    return (kind,)


def _in_words(options: tuple[Any, ...]) -> str:
    words = []
    for option in options:
        origin = typing.get_origin(option)
        if origin is Literal:
            words.append("one of " + ", ".join(str(c) for c in typing.get_args(option)))
        elif origin is list:
            words.append("a list")
        elif origin is dict or dataclasses.is_dataclass(option):
            words.append("a mapping")
        else:
            words.append(typed.NAMES.get(option, "any value"))
    return " or ".join(words)


def _choices(options: tuple[Any, ...]) -> tuple[str, ...]:
    if options == (bool,):
        return ("true", "false")
    return tuple(
        str(c) for o in options if typing.get_origin(o) is Literal for c in typing.get_args(o)
    )


def complete(word: str, groups: dict[str, list[str]]) -> list[str]:
    """Return how a half-typed override may go on, sorted.

    Args:
        word: what stands before the cursor, such as ``wor`` or ``dtype=fl``.
        groups: the choices of each group.
    """
    table = flat_keys()
    name, equals, value = word.partition("=")
    if equals:
        known = groups.get(name) or (list(table[name].choices) if name in table else [])
        return sorted(f"{name}={choice}" for choice in known if choice.startswith(value))
    found = set()
    for key in table:
        if key.startswith(name):
            head, dot, _ = key[len(name) :].partition(".")
            found.add(f"{name}{head}." if dot else f"{key}=")
    return sorted(found)
