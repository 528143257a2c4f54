"""Why a node must run: typed reasons, found where the verdict falls."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from mmtrt.artifacts.keys import PROGRAM, by_flags


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason; ``type`` is what scripts read, :meth:`sentence` what people read."""

    type: ClassVar[str] = "reason"

    def sentence(self) -> str:
        """Return the reason in words."""
        return self.type.replace("_", " ")

    def to_json(self) -> dict[str, Any]:
        """Return the reason as plain data."""
        return {"type": self.type, **asdict(self)}


@dataclass(frozen=True, slots=True)
class FirstBuild(Reason):
    """Nothing of this kind was ever built for this model."""

    type: ClassVar[str] = "first_build"

    def sentence(self) -> str:
        """Return the reason in words."""
        return "first build"


@dataclass(frozen=True, slots=True)
class ParamChanged(Reason):
    """A choice of the recipe or the user differs from the nearest earlier build."""

    path: str
    old: Any
    new: Any
    type: ClassVar[str] = "param_changed"

    def sentence(self) -> str:
        """Return the reason in words."""
        return f"{self.path}: {_short(self.old)} -> {_short(self.new)}"


@dataclass(frozen=True, slots=True)
class InputChanged(Reason):
    """An input has other content than the nearest earlier build read."""

    input: str
    old: str | None
    new: str | None
    type: ClassVar[str] = "input_changed"

    def sentence(self) -> str:
        """Return the reason in words."""
        if self.old is None or self.new is None:
            return f"input {self.input} {'added' if self.old is None else 'removed'}"
        return f"input {self.input} has other content ({self.old[:8]} -> {self.new[:8]})"


@dataclass(frozen=True, slots=True)
class ToolChanged(Reason):
    """A tool has another version than the nearest earlier build used."""

    tool: str
    old: str | None
    new: str | None
    type: ClassVar[str] = "tool_changed"

    def sentence(self) -> str:
        """Return the reason in words."""
        return f"tool {self.tool}: {self.old or 'none'} -> {self.new or 'none'}"


@dataclass(frozen=True, slots=True)
class GpuChanged(Reason):
    """The engine is for another GPU class."""

    field: str
    old: Any
    new: Any
    type: ClassVar[str] = "gpu_changed"

    def sentence(self) -> str:
        """Return the reason in words."""
        return f"GPU {self.field}: {_short(self.old)} -> {_short(self.new)}"


@dataclass(frozen=True, slots=True)
class CommandChanged(Reason):
    """The command differs though no choice does: another mmtrt wrote it."""

    field: str
    old: Any
    new: Any
    type: ClassVar[str] = "command_changed"

    def sentence(self) -> str:
        """Return the reason in words."""
        return f"command {self.field}: {_short(self.old)} -> {_short(self.new)}"


@dataclass(frozen=True, slots=True)
class StageVersionChanged(Reason):
    """mmtrt's own code for this stage makes other output now."""

    old: int
    new: int
    type: ClassVar[str] = "stage_version_changed"

    def sentence(self) -> str:
        """Return the reason in words."""
        return f"stage version: {self.old} -> {self.new}"


@dataclass(frozen=True, slots=True)
class UpstreamRuns(Reason):
    """A stage before this one runs, so this one's input may change."""

    stage: str
    certain: bool
    """False where an equal output would make this stage a hit."""
    type: ClassVar[str] = "upstream_runs"

    def sentence(self) -> str:
        """Return the reason in words."""
        return (
            f"{self.stage} runs first"
            if self.certain
            else f"unless {self.stage} comes out the same"
        )


@dataclass(frozen=True, slots=True)
class OutputMissing(Reason):
    """A stored file is gone."""

    path: str
    type: ClassVar[str] = "output_missing"

    def sentence(self) -> str:
        """Return the reason in words."""
        return f"output is missing: {self.path}"


@dataclass(frozen=True, slots=True)
class OutputCorrupt(Reason):
    """A stored file is not what its manifest says."""

    path: str
    problem: str
    type: ClassVar[str] = "output_corrupt"

    def sentence(self) -> str:
        """Return the reason in words."""
        return f"output is damaged: {self.path} ({self.problem})"


@dataclass(frozen=True, slots=True)
class Forced(Reason):
    """The user asked for it with ``force=``."""

    type: ClassVar[str] = "forced"


@dataclass(frozen=True, slots=True)
class Reruns(Reason):
    """The stage is run for what it does, not for its output."""

    type: ClassVar[str] = "reruns"

    def sentence(self) -> str:
        """Return the reason in words."""
        return "runs every time"


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted path, old, new) of every leaf in which two key documents differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            below = f"{path}.{key}" if path else key
            yield from differences(old.get(key), new.get(key), below)
    elif old != new:
        yield path, old, new


def comparable(old: dict[str, Any], new: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return two key documents by flags; by words where flags do not tell them apart."""
    views = by_flags(old), by_flags(new)
    is_told = views[0].get("flags") != views[1].get("flags") or old.get("argv") == new.get("argv")
    return views if is_told else (old, new)


def reasons_between(old: dict[str, Any], new: dict[str, Any]) -> list[Reason]:
    """Return why ``new`` is not ``old``: what people changed first, the command only if alone."""
    found: list[Reason] = []
    if old.get("stage_version") != new.get("stage_version"):
        found.append(StageVersionChanged(old.get("stage_version", 0), new["stage_version"]))
    before, after = (by_flags(each).get("flags", {}) for each in (old, new))
    flags = differences(_single(before), _single(after))
    found += [ParamChanged(*each) for each in differences(old.get("model"), new["model"], "model")]
    found += [ParamChanged(*each) for each in flags]
    found += [
        InputChanged(_input_name(d[0]), d[1], d[2])
        for d in _flat(old.get("inputs") or {}, new["inputs"])
    ]
    tools = ((old.get("toolchain") or {}), new["toolchain"])
    found += [ToolChanged(d[0].removeprefix("versions."), d[1], d[2]) for d in differences(*tools)]
    found += [GpuChanged(*d) for d in differences(old.get("gpu") or {}, new.get("gpu") or {})]
    if not found:
        programs = before.get(PROGRAM), after.get(PROGRAM)
        found += [CommandChanged(*each) for each in differences(*programs, PROGRAM)]
        for name in ("env", "cwd"):
            found += [CommandChanged(*d) for d in differences(old.get(name), new[name], name)]
    if not found:
        # No flag differs, words do: a value that begins with dashes, or the order.
        found += [CommandChanged(*d) for d in differences(old.get("argv"), new.get("argv"), "argv")]
    return found


def _single(flags: dict[str, list[str]]) -> dict[str, Any]:
    """Return flags as people say them: one value as such, a switch as true."""
    return {
        name: _number(values[0]) if len(values) == 1 else values or True
        for name, values in flags.items()
        if name != PROGRAM
    }


def _number(word: str) -> str | int:
    return int(word) if re.fullmatch(r"-?\d{1,18}", word) else word


def _flat(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield key, old.get(key), new.get(key)


def _input_name(symbol: str) -> str:
    """Return ``checkpoint/llm`` for ``{in.checkpoint}/llm``."""
    kind, _, rest = symbol.removeprefix("{").partition(".")
    return rest.replace("}", "", 1) if kind in ("in", "local") else symbol


def _short(value: Any, width: int = 40) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= width else text[: width - 3] + "..."
