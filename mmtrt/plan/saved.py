"""A plan kept in a file, to be carried out later exactly as it is, or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmtrt import __version__
from mmtrt.artifacts.keys import by_flags, canonical
from mmtrt.errors import UsageError
from mmtrt.plan.assess import UNKNOWN, Assessment, NodeState
from mmtrt.plan.keys import KEY_VERSION
from mmtrt.plan.render import symbolic
from mmtrt.plan.stale import differences
from mmtrt.redaction import FORMS

KIND = "mmtrt plan"
SCHEMA = 1
"""Raised when an older mmtrt could misread a saved plan."""

PLACES = "paths"
"""Settings about where things lie; the store's whole path is kept apart from them."""


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan as it was read."""

    document: Mapping[str, Any]
    title: str
    """The file, for messages."""

    @property
    def overrides(self) -> tuple[str, ...]:
        """What the plan was made of."""
        return tuple(self.document["overrides"])

    @property
    def config_dirs(self) -> tuple[Path, ...]:
        """The user's own configuration directories."""
        return tuple(Path(each) for each in self.document["config_dirs"])

    @property
    def lock(self) -> Mapping[str, Any] | None:
        """The pins that the plan uses: ``title`` and ``entry``."""
        found: Mapping[str, Any] | None = self.document["lock"]
        return found

    def node(self, node_id: str) -> Mapping[str, Any] | None:
        """Return one node, ``None`` if there is none of that name."""
        return next((node for node in self.document["nodes"] if node["id"] == node_id), None)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between a saved plan and the same plan made now."""

    node: str
    """Id of a node; ``plan`` or ``settings`` for what concerns all."""
    field: str
    saved: Any
    present: Any

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return asdict(self)


def saved_json(
    assessment: Assessment, data: Mapping[str, Any], lock: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the document of a plan, as ``mmtrt plan -o`` writes it.

    Args:
        assessment: the plan with its keys.
        data: the composed configuration.
        lock: ``title`` and ``entry`` of the pins that the plan uses.

    Raises:
        UsageError: CFG003, for an override with a credential, which no file should keep.
    """
    recipe, choice = assessment.plan.recipe, assessment.plan.choice
    for word in recipe.overrides:
        if FORMS.text(word) != word:
            raise UsageError(
                "a plan cannot be saved with a credential in it",
                code="CFG003",
                at=f"override {FORMS.text(word)!r}",
                fix="hand it on by a variable, such as HF_TOKEN, or by ~/.netrc",
            )
    document = {
        "schema": SCHEMA,
        "kind": KIND,
        "mmtrt": __version__,
        "key_schema": KEY_VERSION,
        "recipe": recipe.name,
        "variant": recipe.variant_name,
        "overrides": list(recipe.overrides),
        "config_dirs": [str(Path(each).absolute()) for each in recipe.config_dirs],
        "directory": str(Path.cwd()),
        "store": str(assessment.store.root),
        "backend": choice.backend.name,
        "toolchain": choice.backend.toolchain(),
        "gpu": choice.backend.gpu_class(),
        "lock": lock,
        "settings": dict(data),
        "nodes": [_node(state) for state in assessment.states.values()],
    }
    plain: dict[str, Any] = json.loads(canonical(FORMS.tree(document)))
    return plain | {"digest": _digest(plain)}


def to_text(document: Mapping[str, Any]) -> str:
    """Return a document as the text of a file."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def read_saved(path: Path) -> SavedPlan:
    """Read what ``mmtrt plan -o`` wrote.

    Raises:
        UsageError: CFG003, if there is no such file; LCK106, if it is no saved plan, or not whole,
            or changed; LCK107, if a newer mmtrt wrote it.
    """
    again = "mmtrt plan -o FILE with the overrides of the plan"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"there is no saved plan {path}", code="CFG003", fix=again) from None
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, f"it cannot be read: {error}", again) from error
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        why = f"it is no JSON, or was cut short: {error}" if text.strip() else "it is empty"
        raise _unusable(path, why, again) from error
    if not isinstance(document, dict) or document.get("kind") != KIND:
        why = "it holds something else; `plan --json` is for scripts, `plan -o` for `run --plan`"
        raise _unusable(path, why, again)
    schema = document.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise UsageError(
            f"{path} has schema {schema}, this mmtrt reads up to {SCHEMA}",
            code="LCK107",
            why=f"mmtrt {document.get('mmtrt', 'of a newer version')} wrote it",
            fix=f"use that mmtrt, or {again}",
        )
    told = document.pop("digest", None)
    if schema != SCHEMA or told != _digest(document):
        raise _unusable(path, "it is not as it was written: its digest does not fit", again)
    return SavedPlan(document, str(path))


def changes(
    saved: SavedPlan, assessment: Assessment, data: Mapping[str, Any]
) -> tuple[Change, ...]:
    """Return every difference between a saved plan and the same made now.

    What the store has got or lost meanwhile is none: a digest that one side does not know yet, as
    its input is not built, is not compared.
    """
    old, new = saved.document, saved_json(assessment, data)
    rows: list[Change] = []
    for name in ("mmtrt", "key_schema", "store", "backend", "toolchain", "gpu"):
        rows += [Change("plan", *row) for row in _leaves(old[name], new[name], name)]
    was, are = (
        {name: value for name, value in each["settings"].items() if name != PLACES}
        for each in (old, new)
    )
    rows += [Change("settings", *row) for row in _leaves(was, are)]
    present = {node["id"]: node for node in new["nodes"]}
    for node in old["nodes"]:
        name = node["id"]
        if name not in present:
            rows.append(Change(name, "stage", node["kind"], None))
        else:
            rows += [Change(name, *row) for row in _node_changes(node, present.pop(name))]
    rows += [Change(name, "stage", None, node["kind"]) for name, node in present.items()]
    return tuple(rows)


def gone(saved: SavedPlan, assessment: Assessment) -> list[str]:
    """Return the stages that were in the store when the plan was saved, and must run now."""
    return [
        name
        for name, state in assessment.states.items()
        if state.status in ("run", "maybe")
        and (node := saved.node(name)) is not None
        and node["status"] == "hit"
    ]


def moved(saved: SavedPlan, assessment: Assessment) -> list[str]:
    """Return the stages whose key is known now and is not the one that was planned.

    After a run: an output that was made again is not the one that was gone.
    """
    return [
        name
        for name, state in assessment.states.items()
        if state.key is not None
        and (node := saved.node(name)) is not None
        and node["key"] not in (None, state.key)
    ]


def _node(state: NodeState) -> dict[str, Any]:
    node, command = state.node, state.node.command
    row: dict[str, Any] = {
        "id": node.id,
        "kind": node.kind,
        "model_name": node.stage.model_name,
        "status": state.status,
        "skip": node.skip,
        "needs": list(node.needs),
        "key": state.key,
        "document": state.document,
    }
    if command is None:
        return row
    return row | {
        "argv": symbolic(command),  # with the words that no key holds
        "outputs": dict(command.outputs),
        "resources": command.resources.to_json(),
    }


def _node_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield the differences of one node: what decides its output first, then how it is run."""
    for field in ("kind", "model_name", "skip", "needs"):
        yield from _leaves(old[field], new[field], field)
    found = list(_document_changes(old["document"], new["document"]))
    yield from found
    is_told = any(field.startswith("flags.") for field, _, _ in found)
    for field in ("outputs", "resources") if is_told else ("argv", "outputs", "resources"):
        yield from _leaves(old.get(field), new.get(field), field)


def _document_changes(old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    for field, saved, present in _leaves(by_flags(old or {}), by_flags(new or {})):
        # The names of inputs hold dots; they are told as they are.
        if field.startswith("inputs.") and UNKNOWN in (saved, present):
            continue
        yield field, saved, present


def _leaves(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (path, old, new) of each leaf that differs; of lists of one length, each item."""
    for place, before, after in differences(old, new, path):
        if isinstance(before, list) and isinstance(after, list) and len(before) == len(after) == 1:
            yield from _leaves(before[0], after[0], place)
        elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
            for index, pair in enumerate(zip(before, after)):
                yield from _leaves(*pair, f"{place}[{index}]")
        elif isinstance(before, list) and isinstance(after, list):
            yield place, _only(before, after), _only(after, before)
        else:
            yield place, before, after


def _only(these: Sequence[Any], those: Sequence[Any]) -> Any:
    """Return what only the first list has, in its order; the whole list where that is nothing."""
    return [each for each in these if each not in those] or ([] if these else None)


def _digest(document: Mapping[str, Any]) -> str:
    return f"sha256:{hashlib.sha256(canonical(dict(document)).encode()).hexdigest()}"


def _unusable(path: Path, why: str, again: str) -> UsageError:
    return UsageError(f"{path} is no plan that can be run", code="LCK106", why=why, fix=again)
