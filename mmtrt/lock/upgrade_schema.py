"""Locks of schema 2, which had entries by recipe instead of tables that recipes share."""

from __future__ import annotations

import re
import shlex
from typing import Any

from mmtrt.lock.needs import PORTABLE
from mmtrt.lock.tables import ROW_TABLES, TABLES, name_of
from mmtrt.stages import Clone, Download, Env

OLDEST = 2

_COMMIT = re.compile(r"[0-9a-f]{40}")


def upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """Return the plain data of a lock of today's schema.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: if it is not what that schema was.
    """
    lock: dict[str, Any] = {"recipes": {}, **{table: {} for table in ROW_TABLES}}
    for name, block in data["entries"].items():
        common = {key: value for key, value in block.items() if key != "cases"}
        recipe: dict[str, Any] = {"choices": [], "gpu": [], **{table: {} for table in TABLES}}
        for case in block.get("cases", [{}]):
            _add(lock, recipe, _merged(common, case))
        lock["recipes"][name] = recipe
    return lock


def _merged(common: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    tables = (*TABLES, "gpu")
    both = {key: common[key] | case[key] for key in tables if key in common and key in case}
    return {**common, **case, **both}


def _add(lock: dict[str, Any], recipe: dict[str, Any], entry: dict[str, Any]) -> None:
    """Put an entry into the tables; names of stand-ins, which never moved, are left out."""
    lock["mmtrt"], lock["key_schema"] = entry["mmtrt"], entry["key_schema"]
    lines = entry.get("overrides", [])
    recipe["choices"] += lines
    backend, engine = entry["backend"]["name"], entry["backend"]["engine"]
    choices = [shlex.split(line) for line in lines]
    if any(not any(word.startswith("backend=") for word in words) for words in choices):
        recipe["backend"] = backend
    _note(recipe, "engine", backend, engine)
    gpu = ", ".join(f"{key} {value}" for key, value in entry.get("gpu", {}).items()) or PORTABLE
    recipe["gpu"] += [gpu] if gpu not in recipe["gpu"] else []
    for table in ("tools", "patches", "local"):
        for name, value in entry.get(table, {}).items():
            _note(recipe, table, name, value)
    toolchain = entry.get("tools", {}).get("tensorrt-llm", "")
    for stage, pin in entry.get("downloads", {}).items():
        of = Download(
            id=stage,
            model_name="",
            repo_id=pin["repo"],
            revision=pin["revision"],
            include=tuple(pin.get("include", ())),
            exclude=tuple(pin.get("exclude", ())),
        )
        row = {key: pin[key] for key in ("commit", "include", "exclude", "files") if key in pin}
        if _COMMIT.fullmatch(pin["commit"]):
            _note(recipe, "downloads", stage, name_of(of, toolchain))
            lock["downloads"][name_of(of, toolchain)] = row
    for stage, pin in entry.get("clones", {}).items():
        name = name_of(
            Clone(id=stage, model_name="", url=pin["url"], revision=pin["revision"]), toolchain
        )
        if _COMMIT.fullmatch(pin["commit"]):
            _note(recipe, "clones", stage, name)
            lock["clones"][name] = {"commit": pin["commit"]}
    for stage, pin in entry.get("environments", {}).items():
        asked = tuple(pin.get("requirements", ()))
        name = name_of(Env(id=stage, model_name="", requirements=asked), toolchain)
        _note(recipe, "environments", stage, name)
        lock["environments"][name] = pin


def _note(recipe: dict[str, Any], table: str, name: str, value: str) -> None:
    values = recipe[table].setdefault(name, [])
    values += [value] if value not in values else []
