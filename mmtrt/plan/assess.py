"""Which nodes the store already has, which must run, and which might."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mmtrt.artifacts.keys import key_of
from mmtrt.artifacts.store import Artifact, Damaged, Hit, Lookup, Store
from mmtrt.backends.base import In, Local
from mmtrt.config.schema import listed
from mmtrt.errors import PlanError
from mmtrt.plan.graph import Node, Plan
from mmtrt.plan.keys import key_document

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
class Assessment:
    """The verdicts on every node of a plan, in the plan's order."""

    plan: Plan
    store: Store
    states: dict[str, NodeState] = field(default_factory=dict)

    def __getitem__(self, node_id: str) -> NodeState:
        return self.states[node_id]

    def count(self, status: Status) -> int:
        """Return how many nodes have a status."""
        return sum(state.status == status for state in self.states.values())


def assess(plan: Plan, store: Store) -> Assessment:
    """Look every node up in the store; nothing is started or written.

    Raises:
        PlanError: CFG125 if ``only=`` leaves out a stage whose output is not in the store.
    """
    assessment = Assessment(plan, store)
    forced = frozenset(listed(plan.recipe.settings.force))
    for node in plan.nodes:
        assessment.states[node.id] = _judge(node, assessment, forced)
    _check_only(assessment)
    return assessment


def document_of(
    node: Node, plan: Plan, store: Store, made: Mapping[str, Artifact]
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
            digests[place.symbol()] = store.local_digest(Path(place.path), *_selection(node, place))
    return key_document(node, plan.choice, digests)


def _selection(node: Node, place: Local) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which files of a local directory count: those that a download stage takes."""
    stage = node.stage
    return getattr(stage, "include", ()), getattr(stage, "exclude", ())


def is_forced(node: Node, forced: frozenset[str]) -> bool:
    """Return whether ``force=`` names the node."""
    return "all" in forced or node.id in forced


def _judge(node: Node, assessment: Assessment, forced: frozenset[str]) -> NodeState:
    if node.command is None:
        return NodeState(node, "skip")
    plan, store = assessment.plan, assessment.store
    made = {
        need: state.artifact
        for need in node.needs
        if (state := assessment[need]).artifact is not None and state.status == "hit"
    }
    document = document_of(node, plan, store, made)
    pending = [need for need in node.needs if need not in made]
    if pending:
        return _judge_pending(node, document, pending, store, forced)
    key = key_of(document)
    found = store.find(node.kind, key)
    if isinstance(found, Hit) and not node.stage.RERUNS and not is_forced(node, forced):
        return NodeState(node, "hit", (), key, document, found.artifact)
    return NodeState(node, "run", _reasons(node, found, document, store), key, document)


def _reasons(
    node: Node, found: Lookup, document: dict[str, Any], store: Store
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
    nearest = _nearest(node, document, store)
    between = [] if nearest is None else stale.reasons_between(nearest, document)
    return tuple(between) or (stale.FirstBuild(),)


def _judge_pending(
    node: Node,
    document: dict[str, Any],
    pending: list[str],
    store: Store,
    forced: frozenset[str],
) -> NodeState:
    """Decide between run and maybe while an input is not built.

    If the store holds a build that differs in nothing but the pending inputs, an unchanged output
    upstream makes this node a hit; otherwise it runs whatever comes.
    """
    from mmtrt.plan import stale

    if is_forced(node, forced):
        return NodeState(node, "run", (stale.Forced(),), None, document)
    nearest = _nearest(node, document, store)
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


def _nearest(node: Node, document: dict[str, Any], store: Store) -> dict[str, Any] | None:
    """Return the key document of the stored build of this model that differs least.

    Ties go to the newest, which is the one people have in mind.
    """
    from mmtrt.plan import stale

    best: dict[str, Any] | None = None
    best_count = 0
    is_fake = document["toolchain"]["backend"] == "fake"
    for artifact in store.newest(node.kind, node.stage.model_name):
        if artifact.manifest.fake is not is_fake:
            continue  # neither was ever built for the other
        other = artifact.manifest.key_document
        count = sum(new != UNKNOWN for _, _, new in stale.differences(other, document))
        if best is None or count < best_count:
            best, best_count = dict(other), count
    return best


def _check_only(assessment: Assessment) -> None:
    if assessment.plan.recipe.settings.only is None:
        return
    chosen = set(listed(assessment.plan.recipe.settings.only))
    for state in assessment.states.values():
        if state.node.id not in chosen and state.status in ("run", "maybe"):
            raise PlanError(
                f"only={','.join(sorted(chosen))}, but stage {state.node.id} is not in the store",
                code="CFG125",
                at=assessment.plan.recipe.where(("only",)),
                why="; ".join(r.sentence() for r in state.reasons),
                fix=f"add it: 'only=[{','.join([state.node.id, *sorted(chosen)])}]'",
            )
