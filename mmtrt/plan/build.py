"""From a recipe to a plan: choose the backend, lower every stage, drop what nothing needs."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path

from mmtrt.backends import choose
from mmtrt.backends.base import Skip
from mmtrt.config.recipe import Recipe
from mmtrt.config.schema import listed
from mmtrt.config.stages import stages_of
from mmtrt.errors import PlanError, RecipeError
from mmtrt.host import HostInfo
from mmtrt.plan.graph import Node, Plan, ordered
from mmtrt.stages import Stage


def make_plan(recipe: Recipe, host: HostInfo) -> Plan:
    """Return the plan of a recipe: pure, apart from looking whether local files exist.

    Raises:
        PlanError: CFG120 to CFG124 for graphs that make no sense, ENG1xx for what the backend
            cannot do.
        RecipeError: CFG107 if a local file is missing.
    """
    choice = choose(recipe, host)
    stages = stages_of(recipe, choice.backend.engine(recipe.settings.engine))
    lowered = {stage.id: choice.backend.lower(stage) for stage in stages}
    by_id = {stage.id: stage for stage in stages}
    nodes = []
    for stage in stages:
        result = lowered[stage.id]
        if isinstance(result, Skip):
            nodes.append(Node(stage, None, result.reason))
            continue
        feeds = {port: _producer(source, by_id, lowered) for port, source in stage.needs.items()}
        unfed = [p.port for p in result.places() if hasattr(p, "port") and p.port not in feeds]
        if unfed:
            raise PlanError(
                f"stage {stage.id} needs an input {unfed[0]!r} on backend {choice.backend.name}",
                code="CFG123",
                at=recipe.where(("recipe", "stages", stage.id)),
                fix=f"add needs: {{{unfed[0]}: <stage>}}",
            )
        nodes.append(Node(stage, result, None, feeds))
    nodes = _pruned(recipe, list(ordered(nodes)))
    for node in nodes:
        _check_locals(recipe, node)
    return Plan(recipe, choice, tuple(nodes))


def _producer(source: str, stages: dict[str, Stage], lowered: Mapping[str, object]) -> str:
    """Return the stage that really makes an input: skipped stages hand on their own."""
    seen = [source]
    while isinstance(lowered[source], Skip):
        stage = stages[source]
        if stage.PASSES is None or stage.PASSES not in stage.needs:
            return source
        source = stage.needs[stage.PASSES]
        if source in seen:
            raise PlanError(
                f"stages need each other in a circle: {' -> '.join([*seen, source])}",
                code="CFG122",
                fix="remove one of these needs",
            )
        seen.append(source)
    return source


def _pruned(recipe: Recipe, nodes: list[Node]) -> list[Node]:
    """Skip every node that no wanted node needs."""
    by_id = {node.id: node for node in nodes}
    settings = recipe.settings
    only = listed(settings.only)
    for key, names in (("until", listed(settings.until)), ("only", only)):
        for name in names:
            _check_id(recipe, key, name, by_id)
    for name in listed(settings.force):
        if name != "all":
            _check_id(recipe, "force", name, by_id)
    consumed = {need for node in nodes for need in node.needs}
    # A stage that others are meant to read is no goal of its own, even if this backend's commands
    # do not read it: quantize.py starts from the model, so nothing reads the plain checkpoint.
    declared = {source for node in nodes for source in node.stage.needs.values()}
    goals = (
        listed(settings.until)
        or only
        or [n.id for n in nodes if n.id not in consumed and n.id not in declared]
    )
    wanted: set[str] = set()
    stack = list(goals)
    while stack:
        name = stack.pop()
        if name not in wanted:
            wanted.add(name)
            stack += by_id[name].needs
    result = []
    for node in nodes:
        if node.command is not None and node.id not in wanted:
            why = f"until={settings.until}" if settings.until else "nothing needs it"
            node = dataclasses.replace(node, command=None, skip=why)
        result.append(node)
    return result


def _check_id(recipe: Recipe, key: str, name: str, nodes: dict[str, Node]) -> None:
    if name in nodes:
        return
    near = difflib.get_close_matches(name, nodes, 1, 0.4)
    raise PlanError(
        f"{key}={name}: recipe {recipe.name} has no such stage",
        code="CFG124",
        at=recipe.where((key,)),
        why=f"its stages are {', '.join(nodes)}",
        fix=f"{key}={near[0]}" if near else None,
    )


def _check_locals(recipe: Recipe, node: Node) -> None:
    for local in node.locals:
        if not Path(local.path).exists():
            key = ("model", "path") if node.kind == "download" else ("run", "image")
            raise RecipeError(
                f"no such file or directory: {local.path}",
                code="CFG107",
                at=recipe.where(key),
                why=f"stage {node.id} reads it",
                fix=f"{'.'.join(key)}=<path that exists>",
            )
