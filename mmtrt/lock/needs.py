"""What one choice of a recipe needs on this machine: facts as they are, and names that move."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmtrt.artifacts.keys import canonical
from mmtrt.artifacts.store import Store
from mmtrt.backends.base import Choice, Command, Local
from mmtrt.config.recipe import Recipe
from mmtrt.host import HostInfo
from mmtrt.lock.tables import Fetching, LockedRecipe, name_of, table_of
from mmtrt.plan.build import chosen_stages
from mmtrt.plan.pinning import Pinning
from mmtrt.redaction import FORMS
from mmtrt.stages import Clone, Download, Env, Patch, Stage

NOT_LOCKED = frozenset({"until", "only", "force", "run", "serve", "paths", "executor", "hydra"})
"""First words of the overrides that decide about nothing in a lock, or about this machine only."""

PORTABLE = "portable"


@dataclass(frozen=True, slots=True)
class Fetch:
    """A stage that brings something in from outside under a name that may move."""

    stage: Fetching
    command: Command
    table: str
    row: str

    def names(self) -> list[str]:
        """Return what people may call it: the stage, the repository, the packages."""
        stage = self.stage
        if isinstance(stage, Download):
            return [stage.id, str(stage.repo_id)]
        if isinstance(stage, Clone):
            return [stage.id, stage.url]
        return [stage.id, *(re.split(r"[^\w.-]", each)[0] or each for each in stage.requirements)]


@dataclass(frozen=True, slots=True)
class Needs:
    """Everything that a lock has to know of one choice."""

    name: str
    """``recipe/variant``."""
    facts: LockedRecipe
    fetches: tuple[Fetch, ...]
    choice: Choice


def recipe_name(recipe: Recipe) -> str:
    """Return the name under which a lock knows a recipe."""
    return f"{recipe.name}/{recipe.variant_name}"


def needs_of(recipe: Recipe, host: HostInfo, store: Store, pins: Pinning | None = None) -> Needs:
    """Return what every stage of a recipe needs, also of those that this request leaves out.

    Args:
        recipe: the resolved recipe.
        host: the machine to plan for.
        store: whose memo of digests is used for the user's own model.
        pins: say what ``backend=auto`` and ``engine=auto`` mean.

    Raises:
        PlanError: as :func:`mmtrt.plan.build.make_plan`.
        ArtifactError: ART16x or ART15x, for a model of the user's that cannot be read.
    """
    choice, stages = chosen_stages(recipe, host, pins)
    backend = choice.backend
    lowered = [
        (stage, command) for stage in stages if isinstance(command := backend.lower(stage), Command)
    ]
    toolchain = backend.toolchain()["version"]
    tools: dict[str, str] = {}
    for _, command in lowered:
        tools |= backend.tool_versions(command.tools)
    fetches = tuple(
        Fetch(stage, command, table_of(stage), name_of(stage, toolchain))
        for stage, command in lowered
        # What stand-ins make never changes.
        if isinstance(stage, (Download, Clone, Env)) and command.resources.network
    )
    asked: dict[str, dict[str, list[str]]] = {}
    for fetch in fetches:
        asked.setdefault(fetch.table, {})[fetch.stage.id] = [fetch.row]
    gpu = ", ".join(f"{name} {value}" for name, value in (backend.gpu_class() or {}).items())
    settings = recipe.settings
    facts = LockedRecipe(
        choices=[choice_line(recipe)],
        backend=backend.name if settings.backend.name == "auto" else None,
        engine={backend.name: [_engine(choice, stages)]} if settings.engine == "auto" else {},
        gpu=[gpu or PORTABLE],
        tools={name: [version] for name, version in tools.items()},
        patches={stage.id: [_edits(stage)] for stage, _ in lowered if isinstance(stage, Patch)},
        local=_local(lowered, store),
        **asked,
    )
    return Needs(recipe_name(recipe), facts, fetches, choice)


def lasting(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that a lock depends on, as they were typed."""
    return [
        word
        for word in overrides
        if word.lstrip("+~").partition("=")[0].partition(".")[0] not in NOT_LOCKED
    ]


def words_of(recipe: Recipe) -> list[str]:
    """Return the overrides with the variant, which a later recipe may choose otherwise."""
    words = [FORMS.text(word) for word in lasting(recipe.overrides)]
    if any(word.startswith("variant=") for word in words):
        return words
    return [*words, f"variant={recipe.variant_name}"]


def choice_line(recipe: Recipe) -> str:
    """Return the overrides as a line of shell words."""
    return shlex.join(words_of(recipe))


def _engine(choice: Choice, stages: Sequence[Stage]) -> str:
    """Return the engine format: what ``engine=auto`` came to, where there is a choice.

    Stages need not agree in it: beside a compiled language model, ONNX Runtime may see pictures.
    """
    if (chosen := choice.backend.engine_choice) is not None:
        return chosen.name
    return next((str(stage.engine) for stage in stages if hasattr(stage, "engine")), "none")


def _edits(stage: Patch) -> str:
    text = canonical([dataclasses.asdict(edit) for edit in stage.edits])
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _local(lowered: Sequence[tuple[Stage, Command]], store: Store) -> dict[str, list[str]]:
    """Return the digests of the models that the user gave by path, where they are there."""
    found = {}
    for stage, command in lowered:
        if isinstance(stage, Download) and not stage.repo_id:
            for place in command.places():
                if isinstance(place, Local) and Path(place.path).exists():
                    digest = store.local_digest(Path(place.path), stage.include, stage.exclude)
                    found[stage.id] = [digest]
    return found
