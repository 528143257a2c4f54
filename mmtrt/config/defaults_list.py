"""Defaults lists followed to the files that take part in a composition."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mmtrt.config.names import listed, nearest
from mmtrt.config.overrides import GROUPS, Parsed, spoken
from mmtrt.config.root import Source, choices, config_file, display
from mmtrt.config.yaml_file import Document, Files, find, merged
from mmtrt.errors import RecipeError

MISSING = "???"
"""Mark of a choice that must be made."""


@dataclass(frozen=True)
class Choice:
    """What an override sets a group to."""

    name: str | None
    at: str


@dataclass
class Walk:
    """Follows defaults lists to the files that take part, in the order in which they merge."""

    dirs: Sequence[Path]
    files: Files = field(default_factory=Files)
    sources: list[Source] = field(default_factory=list)
    problems: list[RecipeError] = field(default_factory=list)
    is_exotic: bool = False
    """Whether there is what only Hydra understands; sources are good enough for places then."""
    _chosen: dict[str, Choice] = field(default_factory=dict)
    _appended: list[tuple[str, Choice]] = field(default_factory=list)
    _deleted: set[str] = field(default_factory=set)
    _inner: dict[str, Choice] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)
    _active: list[Path] = field(default_factory=list)

    def choose(self, each: Parsed) -> None:
        """Heed an override that chooses the file of a group."""
        names = each.value if isinstance(each.value, list) else [each.value]
        picks = [Choice(None if name is None else spoken(name), each.at) for name in names]
        self.is_exotic |= each.package is not None or len(picks) != 1 or names is each.value
        if each.action == "change":
            self._chosen[each.name] = picks[0] if picks else Choice(None, each.at)
        elif each.action == "add":
            self._appended += [(each.key, pick) for pick in picks]
        else:
            self._deleted.add(each.name)
            self.is_exotic = True

    def run(self, config_name: str) -> Walk:
        """Start from the primary config; afterwards ``sources`` and ``problems`` are filled."""
        for _ in range(4):  # an `override` entry may change what an earlier entry leads to
            before = dict(self._inner)
            self.sources, self.problems = [], []
            self._primary(config_name)
            if self._inner == before:
                break
        groups = [name for name, _ in self._appended]
        self.is_exotic |= not {*self._chosen, *self._inner} <= self._used
        self.is_exotic |= len({*groups, *self._used}) < len(groups) + len(self._used)
        return self

    def merged(self) -> dict[str, Any]:
        """Return the values of the files, the later ones in front.

        Raises:
            RecipeError: CFG105, for a key or value that cannot be read.
            ValueError: where only Hydra can tell.
        """
        values: dict[str, Any] = {}
        for path, package in self.sources:
            data = dict(self.files.read(path).data or {})
            data.pop("defaults", None)
            if path.parent == self.dirs[0]:
                data.pop("hydra", None)  # mmtrt's own settings of Hydra are right
            for part in reversed(package.split(".") if package else []):
                data = {part: data}
            values = merged(values, data)
        return values

    def _primary(self, config_name: str) -> None:
        path = config_file(self.dirs, config_name)
        if path is None:
            names = [n for d in self.dirs for n in sorted(p.stem for p in d.glob("*.yaml"))]
            near = nearest(config_name, names)
            self.problems.append(
                RecipeError(
                    f"there is no primary config {config_name!r}",
                    code="CFG106",
                    at=f"option '-cn {config_name}'",
                    why=f"the choices are {', '.join(names)}",
                    fix=f"-cn {near[0]}" if near else "leave -cn out",
                )
            )
            return
        self.visit(path, "", "", is_primary=True)

    def visit(self, path: Path, group: str, package: str, *, is_primary: bool = False) -> None:
        """Add a file, and before it what it builds on."""
        if path in self._active:
            self.problems.append(
                RecipeError(
                    f"the defaults of {display(path)} lead back to itself",
                    code="CFG105",
                    at=display(path),
                    why=" -> ".join(display(each) for each in (*self._active, path)),
                    fix="remove one of the entries",
                )
            )
            return
        try:
            document = self.files.read(path)
        except RecipeError as error:
            self.problems.append(error)
            return
        source = Source(path, package)
        if document.root is None:
            self.sources.append(source)
            if not is_primary and not self._active[1:]:
                self.problems.append(
                    RecipeError(
                        f"{display(path)} is empty",
                        code="CFG105",
                        at=display(path),
                        fix="start from a copy of another file of its directory",
                    )
                )
            return
        if not isinstance(document.root, yaml.MappingNode):
            self.problems.append(
                RecipeError(
                    f"{display(path)} must be a mapping",
                    code="CFG105",
                    at=document.at(document.root),
                    why="the top of a config file is lines of the form key: value",
                    fix="write key: value",
                )
            )
            return
        self._active.append(path)
        is_placed = False
        for entry in self._defaults(document):
            if isinstance(entry, yaml.ScalarNode) and entry.value == "_self_":
                self.sources.append(source)
                is_placed = True
            else:
                self._entry(document, entry, group, package)
        if not is_placed:
            self.sources.append(source)
        if is_primary:
            for name, choice in self._appended:
                self._choose(name, choice, name.replace("/", "."), is_optional=False)
        self._active.pop()

    def _defaults(self, document: Document) -> Iterator[yaml.Node]:
        try:
            _, node = find(document.root, ("defaults",))
        except KeyError:
            return
        if not isinstance(node, yaml.SequenceNode):
            self.problems.append(
                RecipeError(
                    "defaults must be a list",
                    code="CFG105",
                    at=document.at(node),
                    why="each entry names a file that this one builds on",
                    fix="write - name below defaults:",
                )
            )
            return
        yield from node.value

    def _entry(self, document: Document, entry: yaml.Node, group: str, package: str) -> None:
        if isinstance(entry, yaml.ScalarNode):
            path, at, wanted = entry.value.partition("@")
            self.is_exotic |= bool(at) or "${" in path
            full = path.lstrip("/") if path.startswith("/") else _join(group, path)
            below = path.strip("/").rpartition("/")[0].replace("/", ".")
            found = config_file(self.dirs, full)
            if found is None:
                self._unknown(full, Choice(full.rpartition("/")[2], document.at(entry)))
                return
            self._visit_in(found, full.rpartition("/")[0], package, wanted, below)
        elif isinstance(entry, yaml.MappingNode) and len(entry.value) == 1:
            key, value = entry.value[0]
            *words, name = str(key.value).split(" ")
            name, at, wanted = name.partition("@")
            relative = name.lstrip("/")
            full = relative if name.startswith("/") else _join(group, relative)
            if full.startswith("hydra"):
                return
            choice_key = f"{full}@{wanted}" if wanted else full
            stated = self._stated(document, value)
            is_plain = not at and len(stated) == 1 and isinstance(value, yaml.ScalarNode)
            self.is_exotic |= not is_plain or words not in ([], ["override"])
            if "override" in words:
                for each in stated[:1]:
                    self.is_exotic |= self._inner.get(choice_key, each) != each
                    self._inner[choice_key] = each
                return
            self._used.add(choice_key)
            if choice_key in self._deleted:
                return
            picked = self._chosen.get(choice_key) or self._inner.get(choice_key)
            for each in [picked] if picked else stated:
                target = _package(package, wanted, relative.replace("/", "."))
                self._choose(full, each, target, is_optional="optional" in words)

    def _stated(self, document: Document, value: yaml.Node) -> list[Choice]:
        nodes = value.value if isinstance(value, yaml.SequenceNode) else [value]
        return [
            Choice(None if node.tag.endswith(":null") else str(node.value), document.at(node))
            for node in nodes
            if isinstance(node, yaml.ScalarNode)
        ]

    def _choose(self, group: str, choice: Choice, package: str, *, is_optional: bool) -> None:
        name = choice.name
        if name == MISSING:
            known = choices(group, self.dirs)
            self.problems.append(
                RecipeError(
                    f"no {group} is chosen",
                    code="CFG103",
                    why=listed(f"the {group}s are", known),
                    fix=f"add {group}={known[0]}" if known else None,
                )
            )
            return
        if name is None:
            if group in GROUPS:
                self._unknown(f"{group}/null", Choice("null", choice.at))
            return
        self.is_exotic |= not re.fullmatch(r"[\w-]+", name)
        if "${" in name:
            return  # Hydra resolves it
        path = config_file(self.dirs, f"{group}/{name}") if name else None
        if path is None:
            if not is_optional:
                self._unknown(f"{group}/{name}", choice)
            return
        self._refuse_hidden(group, name, path)
        self._visit_in(path, f"{group}/{name}".rpartition("/")[0], "", "", package)

    def _visit_in(self, path: Path, group: str, parent: str, wanted: str, below: str) -> None:
        with contextlib.suppress(RecipeError):  # told when it is visited
            header = self.files.read(path).package()
            self.is_exotic |= header not in (None, "_global_")
            if header is not None and not wanted:
                parent, below = "", ""
                wanted = header.replace("_group_", group.replace("/", "."))
        self.visit(path, group, _package(parent, wanted, below))

    def _unknown(self, full: str, choice: Choice) -> None:
        group, _, name = full.rpartition("/")
        known = choices(group, self.dirs)
        near = nearest(name, known, 1) or (known if len(known) == 1 else [])
        is_override = choice.at.startswith("override")
        if any((d / f"{full}.yml").is_file() for d in self.dirs if "\0" not in full):
            why, fix = f"{name}.yml is there, but only .yaml is read", f"rename it to {name}.yaml"
        else:
            why = listed("the choices are", known) or f"no directory {group} has files"
            fix = "use one of these"
            if near:
                fix = f"{group}={near[0]}" if is_override else f"write {near[0]}"
        self.problems.append(
            RecipeError(
                f"there is no {group or 'config'} {name!r}",
                code="CFG106",
                at=choice.at,
                why=why,
                fix=fix,
            )
        )

    def _refuse_hidden(self, group: str, name: str, path: Path) -> None:
        """Refuse a user's file that Hydra would pass over without a word."""
        if path.parent != self.dirs[0] / group:
            return
        for each in self.dirs[1:]:
            hidden = each / group / path.name
            if hidden.is_file() and not hidden.samefile(path):
                self.problems.append(
                    RecipeError(
                        f"the {group} {name!r} exists twice",
                        code="CFG106",
                        at=display(hidden),
                        why="mmtrt's own file of this name would be read, and this one ignored",
                        fix=f"rename it, to my_{name}.yaml for example, and use {group}=my_{name}",
                    )
                )


def _join(group: str, name: str) -> str:
    return f"{group}/{name}" if group else name


def _package(parent: str, wanted: str, default: str) -> str:
    """Return the dotted place that a file fills."""
    own = wanted or default
    if own in ("_global_", ""):
        return "" if own else parent
    if own.startswith("_global_."):
        return own.removeprefix("_global_.")
    own = own.replace("_here_", "").strip(".")
    return f"{parent}.{own}".strip(".")
