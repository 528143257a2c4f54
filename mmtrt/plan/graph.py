"""Nodes in order: what a recipe's stages become once a backend has lowered them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from mmtrt.backends.base import Choice, Command, Local
from mmtrt.config.recipe import Recipe
from mmtrt.config.schema import ExecutorChoice, listed
from mmtrt.errors import PlanError
from mmtrt.host import HostInfo
from mmtrt.stages import Stage


@dataclass(frozen=True)
class Node:
    """One stage of a plan."""

    stage: Stage
    command: Command | None
    """``None`` for a stage that is skipped."""
    skip: str | None = None
    """Why the stage is skipped."""
    feeds: Mapping[str, str] = field(default_factory=dict)
    """Port -> id of the node whose output it reads, skipped stages passed over."""
    name: str | None = None
    """Id among the nodes of several recipes; ``None``: that of the stage."""
    choice: Choice | None = field(default=None, repr=False)
    """The backend of the node's own point; ``None``: that of the plan."""
    recipe: Recipe | None = field(default=None, repr=False)
    """The recipe of the node's own point; ``None``: that of the plan."""

    @property
    def id(self) -> str:
        """Name of the node in its graph."""
        return self.name or self.stage.id

    @property
    def kind(self) -> str:
        """Kind of the stage."""
        return self.stage.KIND

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """Ids of the nodes whose output the command really reads."""
        if self.command is None:
            return ()
        return tuple(dict.fromkeys(self.feeds[port] for port in self.command.ports()))

    @property
    def locals(self) -> tuple[Local, ...]:
        """The user's own files that the command reads."""
        if self.command is None:
            return ()
        return tuple(p for p in self.command.places() if isinstance(p, Local))


class Graph(Protocol):
    """Nodes that can be assessed and executed: those of one recipe, or of a whole sweep."""

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every node, each after all that it needs."""
        ...

    @property
    def host(self) -> HostInfo:
        """The machine that the nodes were planned for."""
        ...

    @property
    def executor(self) -> ExecutorChoice:
        """Where commands run, and how patiently."""
        ...

    @property
    def forced(self) -> frozenset[str]:
        """Ids of the nodes that run although the store has their output."""
        ...

    def choice_of(self, node: Node) -> Choice:
        """Return the backend that a node was lowered by."""
        ...

    def recipe_of(self, node: Node) -> Recipe:
        """Return the recipe that a node belongs to."""
        ...

    def active(self) -> list[Node]:
        """Return the nodes that have a command."""
        ...


@dataclass(frozen=True)
class Plan:
    """Every node of a recipe, each after all that it needs."""

    recipe: Recipe
    choice: Choice
    nodes: tuple[Node, ...]

    def __getitem__(self, node_id: str) -> Node:
        return next(node for node in self.nodes if node.id == node_id)

    def active(self) -> list[Node]:
        """Return the nodes that have a command."""
        return [node for node in self.nodes if node.command is not None]

    @property
    def is_native(self) -> bool:
        """Whether mmtrt's own engines are built and asked."""
        return self.choice.backend.name == "native"

    @property
    def host(self) -> HostInfo:
        """The machine that the nodes were planned for."""
        return self.choice.host

    @property
    def executor(self) -> ExecutorChoice:
        """Where commands run, and how patiently."""
        return self.recipe.settings.executor

    @property
    def forced(self) -> frozenset[str]:
        """Ids of the nodes that ``force=`` names."""
        names = frozenset(listed(self.recipe.settings.force))
        return frozenset(node.id for node in self.nodes) if "all" in names else names

    def choice_of(self, node: Node) -> Choice:
        """Return the backend that a node was lowered by."""
        return node.choice or self.choice

    def recipe_of(self, node: Node) -> Recipe:
        """Return the recipe that a node belongs to."""
        return node.recipe or self.recipe


def ordered(nodes: Iterable[Node]) -> tuple[Node, ...]:
    """Return the nodes so that each comes after what it needs; otherwise the given order stays.

    Raises:
        PlanError: CFG122, naming the stages of a cycle.
    """
    waiting = list(nodes)
    done: dict[str, Node] = {}
    while waiting:
        ready = next((n for n in waiting if all(need in done for need in n.needs)), None)
        if ready is None:
            raise PlanError(
                f"stages need each other in a circle: {_cycle(waiting)}",
                code="CFG122",
                fix="remove one of these needs",
            )
        waiting.remove(ready)
        done[ready.id] = ready
    return tuple(done.values())


def _cycle(nodes: list[Node]) -> str:
    by_id = {node.id: node for node in nodes}
    path = [nodes[0].id]
    while True:
        following = next(need for need in by_id[path[-1]].needs if need in by_id)
        if following in path:
            return " -> ".join([*path[path.index(following) :], following])
        path.append(following)
