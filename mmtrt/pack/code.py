"""mmtrt's own modules that a pack runs, with what they import of mmtrt, and nothing more."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import mmtrt

ROOT = Path(mmtrt.__file__).parent

BY_PATH = {"fake": ("backends/flags.py", "backends/flag_tables")}
"""Package -> what it loads by path and not by import."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One file of a pack."""

    name: str
    """Path in the pack."""
    source: Path | bytes
    executable: bool = False

    def size(self) -> int:
        """Return its size in bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size


def bundled(program: Sequence[str]) -> Iterator[Item]:
    """Yield the files of ``lib/`` for a program that is a module of mmtrt; else nothing.

    The whole package of the module is taken, since it may import by name; of the rest of mmtrt
    only what is imported.
    """
    modules = [word for word in program if word.startswith("mmtrt.")]
    if not modules:
        return
    files: set[Path] = {ROOT / "__init__.py"}
    waiting = [_package(module) for module in modules]
    for place in list(waiting):
        waiting += [ROOT / path for path in BY_PATH.get(place.name, ())]
    while waiting:
        place = waiting.pop()
        new = set(_files(place)) - files
        files |= new
        for path in new:
            if path.suffix == ".py":
                waiting += _imported(path)
    for path in sorted(files):
        yield Item(name=f"lib/mmtrt/{path.relative_to(ROOT).as_posix()}", source=path)
    licence = ROOT.parent / "LICENSE"
    if licence.is_file():
        yield Item(name="lib/LICENSE", source=licence)


def _package(module: str) -> Path:
    """Return the directory of the package right below mmtrt that a module is in."""
    return ROOT / module.split(".")[1]


def _files(place: Path) -> Iterator[Path]:
    """Yield a module, or a package with its data."""
    if place.is_file():
        yield place
        for parent in place.parents:
            if parent == ROOT:
                return
            yield parent / "__init__.py"
    for path in place.rglob("*") if place.is_dir() else ():
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield path


def _imported(path: Path) -> Iterator[Path]:
    """Yield the modules of mmtrt that a file imports; those for type checking count, too."""
    tree = ast.parse(path.read_bytes())
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    for name in names:
        first, _, rest = name.partition(".")
        if first == "mmtrt" and rest:
            place = ROOT / rest.replace(".", "/")
            if place.with_suffix(".py").is_file():
                yield place.with_suffix(".py")
            elif (place / "__init__.py").is_file():
                yield place / "__init__.py"
                yield from (
                    p
                    for p in place.iterdir()
                    if p.is_dir() and p.name != "__pycache__" and not (p / "__init__.py").exists()
                )
