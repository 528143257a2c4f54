"""Which nodes the store already has, which must run, and which might."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from mmtrt.artifacts.keys import key_of
from mmtrt.artifacts.store import Artifact, Damaged, Hit, Lookup, Store
from mmtrt.backends.base import In
from mmtrt.config.schema import listed
from mmtrt.errors import PlanError
from mmtrt.plan.graph import Graph, Node, Plan
from mmtrt.plan.keys import key_document, selection

if TYPE_CHECKING:
    from mmtrt.plan import stale

Status = Literal["hit", "run", "maybe", "skip"]

UNKNOWN = "?"
"""Stands in a key document for the digest of an output that is not built yet."""


@dataclass(frozen=True)
class NodeState:
    """The verdict on one node."""

    node: Node
    status: Status
    reasons: tuple[stale.Reason, ...] = ()
    key: str | None = None
    """``None`` as long as an input is not built."""
    document: Mapping[str, Any] | None = None
    artifact: Artifact | None = None
    """The stored output of a hit."""


@dataclass
class Verdicts:
    """The verdicts on every node of a graph, in the graph's order."""

    graph: Graph
    store: Store
    newest: int | None = None
    """How many stored builds of a model a node is compared with, newest first; ``None``: all."""
    states: dict[str, NodeState] = field(default_factory=dict)
    _builds: dict[tuple[str, str, bool], list[dict[str, Any]]] = field(default_factory=dict)
    """(kind, model, whether it is fake) -> key documents of stored builds."""

    def __getitem__(self, node_id: str) -> NodeState:
        return self.states[node_id]

    def count(self, status: Status) -> int:
        """Return how many nodes have a status."""
        return sum(state.status == status for state in self.states.values())

    def builds(self, kind: str, model: str, is_fake: bool) -> list[dict[str, Any]]:
        """Return the key documents of what the store has of a model, newest first."""
        place = (kind, model, is_fake)
        if place not in self._builds:
            newest = islice(self.store.newest(kind, model), self.newest)
            self._builds[place] = [
                dict(artifact.manifest.key_document)
                for artifact in newest
                if artifact.manifest.fake is is_fake  # neither was ever built for the other
            ]
        return self._builds[place]


class Assessment(Verdicts):
    """The verdicts on the nodes of one recipe."""

    @property
    def plan(self) -> Plan:
        """The plan of the recipe."""
        return cast("Plan", self.graph)


def assess(plan: Plan, store: Store) -> Assessment:
    """Look every node up in the store; nothing is started or written.

    Raises:
        PlanError: CFG125 if ``only=`` leaves out a stage whose output is not in the store.
    """
    assessment = Assessment(plan, store)
    _judge_all(assessment)
    check_only(plan, assessment.states)
    return assessment


NEWEST = 16
"""Stored builds of a model that the nodes of a sweep are compared with (*chosen*: a thousand nodes
and a thousand builds would be a million comparisons)."""


def assess_graph(graph: Graph, store: Store) -> Verdicts:
    """Look every node of a sweep up in the store; nothing is started or written."""
    verdicts = Verdicts(graph, store, NEWEST)
    _judge_all(verdicts)
    return verdicts


def _judge_all(verdicts: Verdicts) -> None:
    forced = verdicts.graph.forced
    for node in verdicts.graph.nodes:
        verdicts.states[node.id] = _judge(node, verdicts, forced)


def document_of(
    node: Node, graph: Graph, store: Store, made: Mapping[str, Artifact]
) -> dict[str, Any]:
    """Return the key document of a node, given the artifacts that are there.

    Inputs that are not there stand as :data:`UNKNOWN`.
    """
    assert node.command is not None
    digests: dict[str, str] = {}
    for place in node.command.places():
        if isinstance(place, In):
            artifact = made.get(node.feeds[place.port])
            digests[place.symbol()] = UNKNOWN if artifact is None else artifact.digest(place.path)
        else:
            digests[place.symbol()] = store.local_digest(Path(place.path), *selection(node))
    return key_document(node, graph.choice_of(node), digests)


def _judge(node: Node, verdicts: Verdicts, forced: frozenset[str]) -> NodeState:
    if node.command is None:
        return NodeState(node, "skip")
    store = verdicts.store
    made = {
        need: state.artifact
        for need in node.needs
        if (state := verdicts[need]).artifact is not None and state.status == "hit"
    }
    document = document_of(node, verdicts.graph, store, made)
    pending = [need for need in node.needs if need not in made]
    if pending:
        return _judge_pending(node, document, pending, verdicts, forced)
    key = key_of(document)
    found = store.find(node.kind, key)
    if isinstance(found, Hit) and not node.stage.RERUNS and node.id not in forced:
        return NodeState(node, "hit", (), key, document, found.artifact)
    return NodeState(node, "run", _reasons(node, found, document, verdicts), key, document)


def _reasons(
    node: Node, found: Lookup, document: dict[str, Any], verdicts: Verdicts
) -> tuple[stale.Reason, ...]:
    """Return why a node with a known key runs; ``found`` is what the store had under it."""
    from mmtrt.plan import stale  # not needed as long as everything is in the store

    if isinstance(found, Hit):
        return (stale.Reruns() if node.stage.RERUNS else stale.Forced(),)
    if isinstance(found, Damaged):
        path = str(found.path)
        if "missing" in found.problem:
            return (stale.OutputMissing(path),)
        return (stale.OutputCorrupt(path, found.problem),)
    nearest = _nearest(node, document, verdicts)
    between = [] if nearest is None else stale.reasons_between(nearest, document)
    return tuple(between) or (stale.FirstBuild(),)


def _judge_pending(
    node: Node,
    document: dict[str, Any],
    pending: list[str],
    verdicts: Verdicts,
    forced: frozenset[str],
) -> NodeState:
    """Decide between run and maybe while an input is not built.

    If the store holds a build that differs in nothing but the pending inputs, an unchanged output
    upstream makes this node a hit; otherwise it runs whatever comes.
    """
    from mmtrt.plan import stale

    if node.id in forced:
        return NodeState(node, "run", (stale.Forced(),), None, document)
    nearest = _nearest(node, document, verdicts)
    if nearest is None:
        upstream = tuple(stale.UpstreamRuns(need, True) for need in pending)
        return NodeState(node, "run", (stale.FirstBuild(), *upstream), None, document)
    others = [
        reason
        for reason in stale.reasons_between(nearest, document)
        if not (isinstance(reason, stale.InputChanged) and reason.new == UNKNOWN)
    ]
    upstream = tuple(stale.UpstreamRuns(need, bool(others)) for need in pending)
    return NodeState(node, "run" if others else "maybe", (*others, *upstream), None, document)


def _nearest(node: Node, document: dict[str, Any], verdicts: Verdicts) -> dict[str, Any] | None:
    """Return the key document of the stored build of this model that differs least.

    Ties go to the newest, which is the one people have in mind.
    """
    from mmtrt.plan import stale

    best: dict[str, Any] | None = None
    best_count = 0
    is_fake = document["toolchain"]["backend"] == "fake"
    for other in verdicts.builds(node.kind, node.stage.model_name, is_fake):
        count = sum(new != UNKNOWN for _, _, new in stale.differences(other, document))
        if best is None or count < best_count:
            best, best_count = other, count
    return best


def check_only(plan: Plan, states: Mapping[str, NodeState]) -> None:
    """Refuse to run a stage whose inputs ``only=`` leaves out.

    Raises:
        PlanError: CFG125 if one of them is not in the store.
    """
    if plan.recipe.settings.only is None:
        return
    chosen = set(listed(plan.recipe.settings.only))
    for state in states.values():
        if state.node.id not in chosen and state.status in ("run", "maybe"):
            raise PlanError(
                f"only={','.join(sorted(chosen))}, but stage {state.node.id} is not in the store",
                code="CFG125",
                at=plan.recipe.where(("only",)),
                why="; ".join(r.sentence() for r in state.reasons),
                fix=f"add it: 'only=[{','.join([state.node.id, *sorted(chosen)])}]'",
            )
