"""The plans of many points as one graph: what two of them share is one node.

Nodes are alike if their symbolic key documents are, with the nodes that feed them in the place of
the digests that are not known before something is built. What only turns out equal when it is
built is left to the store, whose keys are made of contents.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from mmtrt.backends.base import Choice, In
from mmtrt.config.recipe import Recipe
from mmtrt.config.schema import ExecutorChoice, listed
from mmtrt.errors import PlanError
from mmtrt.host import HostInfo
from mmtrt.plan.graph import Node, Plan
from mmtrt.plan.keys import selection, static_document


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a sweep: what was chosen, and which nodes of the merged plan are its own."""

    id: str
    """Its number, as text: ``0``, ``1``..."""
    overrides: tuple[str, ...]
    recipe: str
    variant: str
    backend: str
    limits: Mapping[str, int | None]
    stages: Mapping[str, str]
    """Id of each active stage -> id of its node in the merged plan."""
    only: tuple[str, ...] = ()
    """The stages that ``only=`` names."""
    toolchain: Mapping[str, str] = field(default_factory=dict)
    """``name`` and ``version`` of what the backend drives."""
    features_per_request: int | None = None
    """Visual features of one request."""


@dataclass(frozen=True)
class Merged:
    """The nodes of every point, each once and after all that it needs: a ``Graph``."""

    nodes: tuple[Node, ...]
    host: HostInfo
    executor: ExecutorChoice
    forced: frozenset[str]
    points: tuple[Point, ...]

    def active(self) -> list[Node]:
        """Return the nodes, all of which have a command."""
        return list(self.nodes)

    def choice_of(self, node: Node) -> Choice:
        """Return the backend of the first point that has the node."""
        assert node.choice is not None
        return node.choice

    def recipe_of(self, node: Node) -> Recipe:
        """Return the recipe of the first point that has the node."""
        assert node.recipe is not None
        return node.recipe


@dataclass
class Merger:
    """Takes in one plan after the other."""

    _nodes: dict[str, Node] = field(default_factory=dict)
    """Static identity -> node; identities are hashes."""
    _named: dict[str, int] = field(default_factory=dict)
    """Id of a stage -> how many nodes it has become."""
    _identities: dict[str, str] = field(default_factory=dict)
    """Id of a node -> its static identity."""
    _points: list[Point] = field(default_factory=list)
    _forced: set[str] = field(default_factory=set)
    _first: Plan | None = None

    def add(self, name: str, plan: Plan) -> Point:
        """Take in the plan of one point.

        Args:
            name: id of the point.
            plan: planned for the same host as the others.

        Raises:
            PlanError: CFG140 if store, records or executor are not those of the other points.
        """
        first = self._first = self._first or plan
        _refuse_others(first, plan)
        names: dict[str, str] = {}
        for node in plan.active():
            feeds = {port: names[feed] for port, feed in node.feeds.items() if feed in names}
            names[node.id] = self._place(node, feeds, plan)
        self._forced |= {names[each] for each in plan.forced if each in names}
        recipe = plan.recipe
        point = Point(
            id=name,
            overrides=recipe.overrides,
            recipe=recipe.name,
            variant=recipe.variant_name,
            backend=plan.choice.backend.name,
            limits={key: limit.value for key, limit in recipe.sizing.limits.items()},
            stages=names,
            only=tuple(listed(recipe.settings.only)),
            toolchain=plan.choice.backend.toolchain(),
            features_per_request=recipe.sizing.features_per_request,
        )
        self._points.append(point)
        return point

    def merged(self) -> Merged:
        """Return what was taken in, which is at least one plan."""
        assert self._first is not None
        return Merged(
            nodes=tuple(self._nodes.values()),
            host=self._first.host,
            executor=self._first.executor,
            forced=frozenset(self._forced),
            points=tuple(self._points),
        )

    def _place(self, node: Node, feeds: Mapping[str, str], plan: Plan) -> str:
        """Return the id of the node that does the same, which may be a new one."""
        identity = self._identity(node, feeds, plan.choice)
        known = self._nodes.get(identity)
        if known is not None:
            return known.id
        count = self._named[node.id] = self._named.get(node.id, 0) + 1
        name = node.id if count == 1 else f"{node.id}.{count}"
        self._nodes[identity] = dataclasses.replace(
            node, feeds=feeds, name=name, choice=plan.choice, recipe=plan.recipe
        )
        self._identities[name] = identity
        return name

    def _identity(self, node: Node, feeds: Mapping[str, str], choice: Choice) -> str:
        assert node.command is not None
        digests: dict[str, str] = {}
        for place in node.command.places():
            if isinstance(place, In):
                digests[place.symbol()] = f"{self._identities[feeds[place.port]]}/{place.path}"
            else:
                # No hash of the file: two points that name one file read one file.
                digests[place.symbol()] = repr((os.fspath(place.path), selection(node)))
        text = json.dumps(static_document(node, choice, digests), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _refuse_others(first: Plan, plan: Plan) -> None:
    ours, others = plan.recipe.settings, first.recipe.settings
    for key, one, other in (
        ("paths", ours.paths, others.paths),
        ("executor", ours.executor, others.executor),
    ):
        if one is not other and one != other:
            raise PlanError(
                f"{key} is not the same at every point",
                code="CFG140",
                at=plan.recipe.where((key,)),
                why="the points of a sweep share one store, one record and one executor",
                fix=f"give {key} one value",
            )
