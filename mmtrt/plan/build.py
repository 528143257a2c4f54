"""From a recipe to a plan: choose the backend, lower every stage, drop what nothing needs."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path

from mmtrt.backends import choose
from mmtrt.backends.base import Backend, Choice, Local, Skip
from mmtrt.config.recipe import Recipe
from mmtrt.config.schema import listed
from mmtrt.config.stages import stages_of
from mmtrt.errors import PlanError, RecipeError
from mmtrt.host import HostInfo
from mmtrt.plan.graph import Node, Plan, ordered
from mmtrt.plan.pinning import Pinning
from mmtrt.stages import Env, Stage


def make_plan(recipe: Recipe, host: HostInfo, pins: Pinning | None = None) -> Plan:
    """Return the plan of a recipe: pure, apart from looking whether local files exist.

    Args:
        recipe: the resolved recipe.
        host: the machine to plan for.
        pins: what stands in place of moving names; they enter keys as if the recipe said them.

    Raises:
        PlanError: CFG120 to CFG124 for graphs that make no sense, ENG1xx for what the backend
            cannot do.
        RecipeError: CFG107 if a local file is missing.
    """
    choice, stages = chosen_stages(recipe, host, pins)
    if pins is not None:
        toolchain = choice.backend.toolchain()["version"]
        stages = [pins.pinned(stage, toolchain) for stage in stages]
    stages = _without_skipped_envs(stages, choice.backend)
    lowered = {stage.id: choice.backend.lower(stage) for stage in stages}
    by_id = {stage.id: stage for stage in stages}
    nodes = []
    for stage in stages:
        result = lowered[stage.id]
        if isinstance(result, Skip):
            nodes.append(Node(stage, None, result.reason))
            continue
        made = {port: _producer(source, by_id, lowered) for port, source in stage.needs.items()}
        unfed = [port for port in result.ports() if port not in made]
        if unfed:
            raise PlanError(
                f"stage {stage.id} needs an input {unfed[0]!r} on backend {choice.backend.name}",
                code="CFG123",
                at=recipe.where(("recipe", "stages", stage.id)),
                fix=f"add needs: {{{unfed[0]}: <stage>}}",
            )
        command = result.below({port: path for port, (_, path) in made.items()})
        nodes.append(Node(stage, command, None, {port: name for port, (name, _) in made.items()}))
    nodes = _pruned(recipe, list(ordered(nodes)))
    for node in nodes:
        _check_locals(recipe, node)
    return Plan(recipe, choice, tuple(nodes))


def chosen_stages(
    recipe: Recipe, host: HostInfo, pins: Pinning | None = None
) -> tuple[Choice, list[Stage]]:
    """Return the backend and its stages, moving names in them as the recipe says them.

    Raises:
        PlanError: CFG120, CFG121 or ENG1xx.
    """
    choice = choose(recipe, host, None if pins is None else pins.backend)
    engine: str = recipe.settings.engine
    if pins is not None:
        choice = dataclasses.replace(choice, lock=pins.title)
        for told in pins.engines(choice.backend.name) if engine == "auto" else ():
            if _can_do(choose(recipe, host, pins.backend).backend, told, recipe):
                engine = told
                break
    return choice, choice.backend.prepared(stages_of(recipe, choice.backend.engine(engine)))


def _can_do(backend: Backend, engine: str, recipe: Recipe) -> bool:
    """Return whether an engine format has what a recipe asks for; ``backend`` is used up.

    What ``auto`` means depends on that: a lock that was made for one rank says nothing of two.

    Raises:
        PlanError: ENG10x, if this host cannot build the format.
    """
    backend.engine(engine)
    settings = recipe.settings
    ranks = settings.tp * settings.pp
    return settings.quant.name in backend.formats and ranks <= backend.max_ranks


def _without_skipped_envs(stages: list[Stage], backend: Backend) -> list[Stage]:
    """Let stages run in mmtrt's own environment where theirs has nothing to install."""
    skipped = {
        stage.id
        for stage in stages
        if isinstance(stage, Env) and isinstance(backend.lower(stage), Skip)
    }
    return [
        dataclasses.replace(
            stage, needs={p: name for p, name in stage.needs.items() if name not in skipped}
        )
        for stage in stages
    ]


def _producer(
    source: str, stages: dict[str, Stage], lowered: Mapping[str, object]
) -> tuple[str, str]:
    """Return the stage that really makes an input and the path below its output.

    Skipped stages hand on their own input.
    """
    name, _, path = source.partition("/")
    seen = [name]
    while isinstance(lowered[name], Skip):
        stage = stages[name]
        if stage.PASSES is None or stage.PASSES not in stage.needs:
            break
        name, _, above = stage.needs[stage.PASSES].partition("/")
        path = "/".join(part for part in (above, path) if part)
        if name in seen:
            raise PlanError(
                f"stages need each other in a circle: {' -> '.join([*seen, name])}",
                code="CFG122",
                fix="remove one of these needs",
            )
        seen.append(name)
    return name, path


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
    declared = {source.partition("/")[0] for node in nodes for source in node.stage.needs.values()}
    goals = (
        listed(settings.until)
        or only
        or [
            n.id
            for n in nodes
            if n.id not in consumed and n.id not in declared and not n.stage.on_demand
        ]
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
            if node.stage.on_demand:
                why = f"on demand: until={node.id}"
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


_LOCAL_KEYS = {
    "model": ("model", "path"),
    "video": ("run", "video"),
    "audio": ("run", "audio"),
    "dataset": ("eval", "dataset_dir"),
    "calib": ("quant", "calib_dataset"),
    "projector": ("model", "projector"),
}
"""Name of a local file or directory -> the key that gave it; pictures are ``image0`` and so on."""


def _check_medium(recipe: Recipe, node: Node, local: Local) -> None:
    """Refuse what is no file before it is hashed: an empty path is the working directory."""
    key = _LOCAL_KEYS.get(local.name, ("run", "image"))
    path = Path(local.path)
    if local.path in ("", ".", "/"):
        message = f"{'.'.join(key)} is no file: {local.path or 'it is empty'}"
    elif path.is_dir() and local.name != "video":
        message = f"{'.'.join(key)} is a directory: {local.path}"
    elif path.exists() and not path.is_file() and not path.is_dir():
        message = f"{'.'.join(key)} is a pipe, a socket or a device: {local.path}"
    else:
        return
    raise RecipeError(
        message,
        code="CFG107",
        at=recipe.where(key),
        why=f"stage {node.id} opens a file",
        fix=f"{'.'.join(key)}=null   # or a file",
    )


def _check_locals(recipe: Recipe, node: Node) -> None:
    for local in node.locals:
        is_medium = local.name not in _LOCAL_KEYS or local.name in ("video", "audio")
        if is_medium and node.kind in ("run", "serve"):
            _check_medium(recipe, node, local)
        if not Path(local.path).exists():
            key = _LOCAL_KEYS.get(local.name, ("run", "image"))
            what, why = "no such file or directory", "reads it"
            if "://" in local.path:
                what, why = "not a file, but an address", "opens files and fetches nothing"
            raise RecipeError(
                f"{what}: {local.path}",
                code="CFG107",
                at=recipe.where(key),
                why=f"stage {node.id} {why}",
                fix=f"name a file that exists: {'.'.join(key)}=...",
            )
