"""What a plan will take: GPU memory of its engines, host memory, disk and time of its stages.

An estimate is *computed* from sizes, or *measured*: read from the manifest of the nearest earlier
run of the same kind and model. Where a number of the model is not known there is none.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mmtrt.artifacts.keys import by_flags
from mmtrt.artifacts.store import Artifact, Store
from mmtrt.config.recipe import Recipe
from mmtrt.errors import MmtrtError
from mmtrt.plan.assess import UNKNOWN, NodeState, Verdicts, assess
from mmtrt.plan.graph import Graph, Node, Plan
from mmtrt.plan.rank_memory import SERVING, Memory, ranks_of
from mmtrt.sizing import memory
from mmtrt.stages import Assemble, Download

Name = Literal["gpu_memory", "ram", "disk", "seconds"]
Kind = Literal["computed", "measured"]


NEAREST_OF = 8
"""Earlier runs among which the nearest is looked for, the newest ones (*chosen*)."""


@dataclass(frozen=True)
class Estimate:
    """One number that a stage will take."""

    name: Name
    value: float
    """Bytes, or seconds."""
    kind: Kind
    because: str
    """The sum, or which earlier run it is of."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data, without its name."""
        unit = "seconds" if self.name == "seconds" else "bytes"
        return {"value": self.value, "unit": unit, "kind": self.kind, "because": self.because}


def estimates(verdicts: Verdicts) -> dict[str, tuple[Estimate, ...]]:
    """Return what each stage will take, by its id; a stage that is in the store takes nothing.

    Of a sweep, a node is there once, whatever the number of its points.
    """
    graph, ranks = verdicts.graph, _Ranks(verdicts.graph)
    earlier = _Earlier(verdicts.store)
    found: dict[str, tuple[Estimate, ...]] = {}
    for state in verdicts.states.values():
        row: list[Estimate] = []
        if state.status in ("run", "maybe"):
            if state.node.kind in SERVING:
                memory_row = ranks.of(graph.recipe_of(state.node))
                row += [] if memory_row is None else [memory_row]
            row += _taken(state, earlier)
        found[state.node.id] = tuple(row)
    return found


class _Ranks:
    """GPU memory of each recipe, looked at once: its stages that answer share the engines."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._serving: dict[int, list[Node]] = {}
        self._found: dict[int, Estimate | None] = {}
        for node in graph.active():
            if node.kind in SERVING:
                self._serving.setdefault(id(graph.recipe_of(node)), []).append(node)

    def of(self, recipe: Recipe) -> Estimate | None:
        if id(recipe) not in self._found:
            rank = ranks_of(self._graph, self._serving[id(recipe)])
            self._found[id(recipe)] = (
                None
                if rank is None
                else Estimate("gpu_memory", rank.size_bytes, "computed", _sum(rank))
            )
        return self._found[id(recipe)]


def total(rows: Mapping[str, tuple[Estimate, ...]], name: Name) -> list[Estimate]:
    """Return every estimate of one name, the largest first."""
    every = (each for row in rows.values() for each in row if each.name == name)
    return sorted(every, key=lambda each: -each.value)


@dataclass
class _Earlier:
    """The newest builds of each kind and model, looked up once."""

    store: Store
    _found: dict[tuple[str, str], list[Artifact]] = field(default_factory=dict)

    def newest(self, kind: str, model: str) -> list[Artifact]:
        place = kind, model
        if place not in self._found:
            newest = self.store.newest(kind, model)
            self._found[place] = list(itertools.islice(newest, NEAREST_OF))
        return self._found[place]


def _taken(state: NodeState, builds: _Earlier) -> list[Estimate]:
    """Return memory, disk and time of a stage that is not in the store."""
    command = state.node.command
    assert command is not None
    row: dict[str, Estimate] = {}
    needs = (("ram", command.resources.ram_bytes), ("disk", command.resources.disk_bytes))
    for name, value in needs:
        if value:
            because = "from the sizes of the weights"
            row[name] = Estimate("ram" if name == "ram" else "disk", value, "computed", because)
    earlier = _nearest(state, builds)
    if earlier is not None:
        artifact, differs = earlier
        manifest = artifact.manifest
        because = f"the run of {manifest.created[:10]}"
        because += f", which differs in {', '.join(differs)}" if differs else ""
        row["seconds"] = Estimate("seconds", manifest.seconds, "measured", because)
        # Another number format, or inputs that may be others, and the sizes are not this stage's.
        is_same = not differs and UNKNOWN not in (state.document or {}).get("inputs", {}).values()
        if (is_same or "ram" not in row) and manifest.peak_rss_bytes:
            row["ram"] = Estimate("ram", manifest.peak_rss_bytes, "measured", because)
        if (is_same or "disk" not in row) and not _links(state):
            size = sum(entry.size for entry in manifest.files)
            row["disk"] = Estimate("disk", size, "measured", because)
    return list(row.values())


def _links(state: NodeState) -> bool:
    """Return whether a stage writes links to what is on the disk already."""
    stage = state.node.stage
    return isinstance(stage, Assemble) or (isinstance(stage, Download) and stage.repo_id is None)


def _nearest(state: NodeState, builds: _Earlier) -> tuple[Artifact, tuple[str, ...]] | None:
    """Return the earlier output of this kind and model that differs least, and in what.

    Ties go to the newest. What is still to be built differs in nothing yet.
    """
    from mmtrt.plan.stale import differences

    node, document = state.node, state.document
    if document is None:
        return None
    wanted = by_flags(document)
    best: tuple[Artifact, tuple[str, ...]] | None = None
    for artifact in builds.newest(node.kind, node.stage.model_name):
        other = by_flags(artifact.manifest.key_document)
        if other.get("toolchain", {}).get("backend") != document["toolchain"]["backend"]:
            continue
        differs = tuple(
            path.removeprefix("flags.")
            for part in ("flags", "inputs")
            for path, _, new in differences(other.get(part) or {}, wanted[part], part)
            if new != UNKNOWN
        )
        if best is None or len(differs) < len(best[1]):
            best = artifact, differs
    return best


def _sum(ranks: Memory) -> str:
    parts = " + ".join(f"{part.name} {memory.gibibytes(part.size_bytes)}" for part in ranks.parts)
    return "at least " + parts + "".join(f"; not counted: {each}" for each in ranks.not_counted)


def stored(plan: Plan) -> frozenset[str]:
    """Return the ids of the nodes whose output is in the store; for those who have no assessment.

    None of them where the store cannot tell.
    """
    store = Store(Path(plan.recipe.settings.paths.store))
    try:
        states = assess(plan, store).states.values()
    except MmtrtError:
        return frozenset()
    return frozenset(state.node.id for state in states if state.status == "hit")
