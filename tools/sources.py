"""Tell which stages' own code has changed since their ``VERSION`` was last raised.

A key holds a stage's ``VERSION`` and not its code, so an output is taken from the store as long as
the number stays. ``tools/sources.yaml`` holds, for each stage, its version and a digest of the code
that its output depends on; a test compares it with the code.

    python -m tools.sources                        record stages whose VERSION went up
    python -m tools.sources build_llm run          these, too: what they write is as it was

What counts: definitions that the stage's ``main`` reaches by name, in ``mmtrt`` alone. What does
not: comments, docstrings, annotations, format, and ``raise`` with its message, since a stage that
fails stores nothing. Families have lines of their own, as their modules are found by name: where
one changes, the version of some native stage goes up. The stand-ins (``mmtrt.fake``) have none:
what they write satisfies no other backend.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml

from mmtrt.native.families import FAMILIES
from mmtrt.stages import STAGE_TYPES

ROOT = Path(__file__).parent.parent
RECORD = Path(__file__).with_suffix(".yaml")
HEAD = "# Written by `make sources`, which says when: see tools/sources.py.\n"

NATIVE = ("convert", "quantize", "build_vision", "build_llm", "run", "eval")
"""Kinds whose process knows families."""

ROOTS: Mapping[str, tuple[str, ...]] = {
    **{kind: (f"mmtrt.native.{kind}:main",) for kind in NATIVE[:4]},
    # TensorRT-LLM's tools write no results: what the core reads out of their logs is the output.
    "run": ("mmtrt.native.run:main", "mmtrt.executor.harvest"),
    "eval": ("mmtrt.native.evaluate:main", "mmtrt.executor.harvest"),
    # A model that a recipe has made for it, and the questions about it.
    "download": (
        *("mmtrt.tasks.download:main", "mmtrt.native.make_tiny", "mmtrt.native.make_questions"),
        *(f"mmtrt.native.tiny.{path.stem}" for path in (ROOT / "mmtrt/native/tiny").glob("*.py")),
    ),
    **{
        kind: (f"mmtrt.tasks.{kind}:main",)
        for kind in ("assemble", "clone", "env", "patch", "serve", "write")
    },
    **{
        f"family-{module}": (f"mmtrt.native.families.{module}",)
        for module in sorted(set(FAMILIES.values()))
    },
}
"""Line of the record -> what its output depends on: ``module``, or ``module:name``."""

TALK = frozenset(
    {
        *("mmtrt.errors", "mmtrt.redaction", "mmtrt.stages", "mmtrt.stages.base"),
        *("mmtrt.native.errors", "mmtrt.native.flags", "mmtrt.native.progress"),
        *("mmtrt.tasks.messages", "mmtrt.tasks.progress"),
    }
)
"""Modules that decide what is said, and what a command line looks like, which the key holds."""


@dataclass(frozen=True)
class Line:
    """One line of the record."""

    version: int
    """The stage's; of a family, the sum of those of the native stages."""
    sources: str
    """The first digits of a SHA-256."""


@dataclass
class Module:
    """What a module defines and imports, at any depth."""

    defines: dict[str, list[ast.stmt]] = field(default_factory=dict)
    always: list[ast.stmt] = field(default_factory=list)
    """What importing it does: calls, and definitions that a decorator may register."""
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name here -> module, and name there; empty for the module itself."""


def current() -> dict[str, Line]:
    """Return the record as it should be."""
    versions = {kind: stage.VERSION for kind, stage in STAGE_TYPES.items()}
    family = sum(versions[kind] for kind in NATIVE)
    return {name: Line(versions.get(name, family), digest(ROOTS[name])) for name in sorted(ROOTS)}


def recorded() -> dict[str, Line]:
    """Return the record as it was written."""
    rows = yaml.safe_load(RECORD.read_text("utf-8")) if RECORD.exists() else {}
    return {name: Line(**row) for name, row in (rows or {}).items()}


def unversioned(old: Mapping[str, Line], new: Mapping[str, Line]) -> list[str]:
    """Return the lines whose code changed and whose version did not go up."""
    return [
        name
        for name, line in new.items()
        if name in old and line.sources != old[name].sources and line.version <= old[name].version
    ]


def write(lines: Mapping[str, Line]) -> None:
    """Write the record, a line for each stage, so that branches merge."""
    # In quotes: a digest of digits alone, or of digits around an e, would be read as a number.
    rows = [f'{n}: {{version: {x.version}, sources: "{x.sources}"}}\n' for n, x in lines.items()]
    RECORD.write_text(HEAD + "".join(rows), "utf-8")


def digest(roots: Sequence[str]) -> str:
    """Return the digest of all definitions that these reach."""
    reached: dict[tuple[str, str], str] = {}
    todo = [(module, name) for module, _, name in (root.partition(":") for root in roots)]
    while todo:
        module, name = todo.pop()
        if (module, name) in reached or module in TALK or path_of(module) is None:
            continue
        found = read(module)
        if name in found.imports:
            todo.append(found.imports[name])
            continue
        whole = [node for nodes in found.defines.values() for node in nodes]
        nodes = [*(found.defines.get(name, []) if name else whole), *found.always]
        if not nodes:
            continue
        reached[module, name] = "\n".join(statement(node) for node in nodes)
        for node in nodes:
            todo += references(module, found, node)
    text = "\n".join(f"{module}:{name}\n{code}" for (module, name), code in sorted(reached.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def path_of(module: str) -> Path | None:
    """Return the file of a module of mmtrt."""
    if not re.fullmatch(r"mmtrt(\.\w+)+", module):
        return None
    place = ROOT / Path(*module.split("."))
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.is_file()), None)


@cache
def read(module: str) -> Module:
    """Return what a module defines and imports."""
    path = path_of(module)
    assert path is not None
    found = Module()
    tree = Bare().visit(ast.parse(path.read_text("utf-8")))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for each in node.names:
                inner = f"{node.module}.{each.name}"
                target = (inner, "") if path_of(inner) else (node.module, each.name)
                found.imports[each.asname or each.name] = target
        elif isinstance(node, ast.Import):
            for each in node.names:
                found.imports[each.asname or each.name] = (each.name, "")
    for node in tree.body:
        names = list(bound(node))
        for name in names:
            found.defines.setdefault(name, []).append(node)
        is_import = isinstance(node, (ast.Import, ast.ImportFrom))
        if not is_import and (not names or getattr(node, "decorator_list", None)):
            found.always.append(node)
    return found


def bound(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement of a module defines."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif not isinstance(node, (ast.Import, ast.ImportFrom)):
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                yield each.id


def references(module: str, found: Module, node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of what a statement names; ``a.b`` of a module ``a`` is ``b`` alone."""
    taken = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name):
            target, name = found.imports.get(each.value.id, ("", "x"))
            if target and not name:
                taken.add(id(each.value))
                yield target, each.attr
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and id(each) not in taken:
            if each.id in found.imports or each.id in found.defines:
                yield module, each.id
        elif isinstance(each, ast.Constant) and path_of(str(each.value)):
            yield str(each.value), ""  # imported by name, or run as a process


class Bare(ast.NodeTransformer):
    """Takes away what changes no output."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Leave out docstrings and annotations."""
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [each for each in body if not is_text(each)]  # type: ignore[attr-defined]
        for name in ("annotation", "returns"):
            if hasattr(node, name):
                setattr(node, name, None)
        return super().generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Leave out the type of a name that gets a value."""
        if node.value is None:
            return self.generic_visit(node)
        return self.generic_visit(ast.copy_location(ast.Assign([node.target], node.value), node))

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Keep that it fails, and not how it says so."""
        return ast.copy_location(ast.Raise(None, None), node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """Leave out what is there for types alone."""
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        return self.generic_visit(node)


def is_text(node: ast.AST) -> bool:
    """Return whether a statement is a text that stands alone."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@cache
def statement(node: ast.stmt) -> str:
    """Return a statement as text; most are reached from several stages."""
    return text_of(node)


def text_of(node: object) -> str:
    """Return a tree as text that is the same in every version of Python."""
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
        inner = ",".join(f"{n}={text_of(v)}" for n, v in fields if n not in ("kind", "ctx"))
        return f"{type(node).__name__}({inner})"
    if isinstance(node, list):
        return "[" + ",".join(map(text_of, node)) + "]"
    return repr(node)


def main(same: Sequence[str]) -> int:
    """Write the record; refuse a line whose output may have changed under the same version."""
    old, new = recorded(), current()
    if unknown := set(same) - new.keys():
        print(f"no such line: {', '.join(sorted(unknown))}; there are: {', '.join(new)}")
        return 2
    refused = [name for name in unversioned(old, new) if name not in same]
    write({name: old[name] if name in refused else line for name, line in new.items()})
    for name in refused:
        print(f"{name}: its code changed and VERSION is still {new[name].version}")
    if refused:
        print("raise VERSION in mmtrt/stages, or, if what they write is the same:")
        print(f"  make sources SAME='{' '.join(refused)}'")
    return 1 if refused else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
