"""Which YAML files there are: the choices of each group, and the files that a choice leads to.

Read without Hydra, so that ``mmtrt ls`` is quick and a broken file is an entry, not a crash.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from mmtrt.config.names import listed, nearest
from mmtrt.config.overrides import GROUPS
from mmtrt.config.root import Source, display, search_dirs
from mmtrt.config.yaml_file import Document, find, names_below, read
from mmtrt.errors import RecipeError

MISSING = "???"
"""Mark of a choice that must be made."""


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """What a recipe's own file says about it."""

    name: str
    """What ``recipe=`` takes: the name of the file."""
    path: Path
    title: str = ""
    summary: str = ""
    readme_section: str = ""
    workflow: str = "engine"
    default_variant: str = ""
    variants: tuple[str, ...] = ()
    quants: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    error: str | None = None
    """Why the file cannot be used, as messages show it."""


def recipes(config_dirs: Iterable[str | os.PathLike[str]] = ()) -> list[CatalogueEntry]:
    """Return an entry for every recipe, by name; a broken file's entry tells its error.

    Raises:
        RecipeError: CFG107, if one of ``config_dirs`` is no directory.
    """
    dirs = search_dirs(config_dirs)
    return [recipe_entry(name, dirs) for name in choices("recipe", dirs)]


def recipe_path(name: str, config_dirs: Iterable[str | os.PathLike[str]] = ()) -> Path:
    """Return the file of a recipe.

    Raises:
        RecipeError: CFG106, if there is none of that name.
    """
    dirs = search_dirs(config_dirs)
    path = config_file(dirs, f"recipe/{name}") if name else None
    if path is None:
        known = choices("recipe", dirs)
        near = nearest(name, known, 1)
        raise RecipeError(
            f"there is no recipe {name!r}",
            code="CFG106",
            why=listed("the recipes are", known),
            fix=near[0] if near else "use one of these",
        )
    return path


def recipe_entry(name: str, dirs: Sequence[Path]) -> CatalogueEntry:
    """Return the entry of one recipe; ``dirs`` are all directories, mmtrt's own first."""
    path = config_file(dirs, f"recipe/{name}")
    if path is None:
        return CatalogueEntry(
            name=name, path=dirs[0] / "recipe" / f"{name}.yaml", error="is not a file"
        )
    try:
        nodes = _top_nodes(path, dirs)
    except RecipeError as err:
        return CatalogueEntry(name=name, path=path, error=err.render())
    return CatalogueEntry(
        name=name,
        path=path,
        title=_text(nodes, "title"),
        summary=_text(nodes, "summary"),
        readme_section=_text(nodes, "readme_section"),
        workflow=_text(nodes, "workflow") or "engine",
        default_variant=_text(nodes, "default_variant"),
        variants=_names(nodes, "variants"),
        quants=_names(nodes, "quants"),
        sessions=_names(nodes, "sessions"),
        backends=_names(nodes, "backends"),
    )


Nodes = dict[str, list[yaml.Node]]
"""Top-level key -> its value in each file that has it, in the order of merging."""


def _top_nodes(path: Path, dirs: Sequence[Path]) -> Nodes:
    """Return a recipe's values, those of files that it builds on first.

    Nodes and not values: constructing all of a recipe takes as long as parsing it.
    """
    nodes = _nodes(path)
    if "defaults" not in nodes:
        return nodes
    walk = Walk(dirs, {})
    walk.visit(path, "recipe", "recipe")
    if walk.problems:
        raise walk.problems[0]
    merged: Nodes = {}
    for source in walk.sources:
        if source.package == "recipe":
            for key, values in _nodes(source.path).items():
                merged.setdefault(key, []).extend(values)
    return merged


def _nodes(path: Path) -> Nodes:
    document = read(path, is_strict=False)
    if not isinstance(document.root, yaml.MappingNode):
        raise RecipeError(
            f"{display(path)} must be a mapping",
            code="CFG105",
            at=document.at(document.root),
            fix="write key: value",
        )
    return {str(key.value): [value] for key, value in document.root.value}


def _text(nodes: Nodes, key: str) -> str:
    """Return a text as it was written, so that an unquoted 1.10 is told as such."""
    last = nodes.get(key, [None])[-1]
    is_text = isinstance(last, yaml.ScalarNode) and not last.tag.endswith(":null")
    return str(last.value) if last is not None and is_text else ""


def _names(nodes: Nodes, key: str) -> tuple[str, ...]:
    """Return the items of a list, or the keys of a mapping together with those built on."""
    values = nodes.get(key, [])
    if values and isinstance(values[-1], yaml.SequenceNode):
        items = values[-1].value
        return tuple(str(item.value) for item in items if isinstance(item, yaml.ScalarNode))
    return tuple(dict.fromkeys(name for value in values for name in names_below(value)))


def config_file(dirs: Sequence[Path], name: str) -> Path | None:
    """Return the first file of this name, as Hydra does; ``recipe/llava`` needs no ``.yaml``."""
    if "\0" in name:
        return None
    file = name if name.endswith(".yaml") else f"{name}.yaml"
    for each in dirs:
        try:
            if (each / file).is_file():
                return each / file
        except OSError:
            continue
    return None


def choices(group: str, dirs: Sequence[Path]) -> list[str]:
    """Return the names of the files that a group can be set to, sorted."""
    found = set()
    for each in dirs:
        try:
            found |= {path.stem for path in (each / group).iterdir() if path.suffix == ".yaml"}
        except OSError:
            continue
    return sorted(found)


@dataclass(frozen=True)
class Choice:
    """What an override sets a group to."""

    name: str | None
    at: str


@dataclass
class Walk:
    """Follows defaults lists to the files that take part, in the order in which they merge.

    This repeats what Hydra does as far as places need it; Hydra itself stays the judge of what
    the result is.
    """

    dirs: Sequence[Path]
    chosen: Mapping[str, Choice]
    appended: Sequence[tuple[str, Choice]] = ()
    """Groups added by ``+group=name``."""
    deleted: frozenset[str] = frozenset()
    sources: list[Source] = field(default_factory=list)
    problems: list[RecipeError] = field(default_factory=list)
    documents: dict[Path, Document | None] = field(default_factory=dict)
    _broken: dict[Path, RecipeError] = field(default_factory=dict)
    _inner: dict[str, Choice] = field(default_factory=dict)
    _active: list[Path] = field(default_factory=list)

    def run(self, config_name: str) -> Walk:
        """Start from the primary config; afterwards ``sources`` and ``problems`` are filled."""
        for _ in range(4):  # an `override` entry may change what an earlier entry leads to
            before = dict(self._inner)
            self.sources, self.problems = [], []
            self._primary(config_name)
            if self._inner == before:
                break
        return self

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
        document = self._document(path)
        if document is None:
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
            for name, choice in self.appended:
                self._choose(name, choice, name.replace("/", "."), is_optional=False)
        self._active.pop()

    def _document(self, path: Path) -> Document | None:
        if path not in self.documents:
            try:
                self.documents[path] = read(path)
            except RecipeError as err:
                self.documents[path] = None
                self._broken[path] = err
        if path in self._broken:
            self.problems.append(self._broken[path])
        return self.documents[path]

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
            path, _, wanted = entry.value.partition("@")
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
            name, _, wanted = name.partition("@")
            relative = name.lstrip("/")
            full = relative if name.startswith("/") else _join(group, relative)
            if full.startswith("hydra"):
                return
            choice_key = f"{full}@{wanted}" if wanted else full
            stated = self._stated(document, value)
            if "override" in words:
                for each in stated[:1]:
                    self._inner[choice_key] = each
                return
            if choice_key in self.deleted:
                return
            picked = self.chosen.get(choice_key) or self._inner.get(choice_key)
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
        document = self._document_quietly(path)
        header = document.package() if document else None
        if header is not None and not wanted:
            package = _package("", header.replace("_group_", group.replace("/", ".")), "")
        else:
            package = _package(parent, wanted, below)
        self.visit(path, group, package)

    def _document_quietly(self, path: Path) -> Document | None:
        before = len(self.problems)
        document = self._document(path)
        del self.problems[before:]
        return document

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
