"""What a recipe needs on this machine: facts as they are, and names that stand for something."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmtrt import __version__
from mmtrt.artifacts.keys import canonical
from mmtrt.artifacts.store import Store
from mmtrt.backends.base import Choice, Command, Local
from mmtrt.config.recipe import Recipe
from mmtrt.host import HostInfo
from mmtrt.pins.cases import line_of
from mmtrt.pins.entry import BackendPin, Entry
from mmtrt.plan.build import chosen_stages
from mmtrt.plan.keys import KEY_VERSION
from mmtrt.plan.pinning import Pinning
from mmtrt.redaction import FORMS
from mmtrt.stages import Clone, Download, Env, Patch, Stage

NOT_PINNED = frozenset({"until", "only", "force", "run", "serve", "paths", "executor", "hydra"})
"""First words of the overrides that decide about no pin, or about this machine only."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """A stage that brings something in from outside, moving names as the recipe says them."""

    stage: Download | Clone | Env
    command: Command

    @property
    def is_moving(self) -> bool:
        """Whether its name can mean something else tomorrow; stand-ins never change."""
        return self.command.resources.network


@dataclass(frozen=True, slots=True)
class Needs:
    """Everything that a lock has to know of one choice."""

    name: str
    """``recipe/variant``."""
    facts: Entry
    """Without downloads, clones and environments."""
    fetches: tuple[Fetch, ...]
    choice: Choice


def name_of(recipe: Recipe) -> str:
    """Return the name of a recipe's entry."""
    return f"{recipe.name}/{recipe.variant_name}"


def describe(recipe: Recipe, host: HostInfo, store: Store, pins: Pinning | None = None) -> Needs:
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
    tools: dict[str, str] = {}
    for _, command in lowered:
        tools |= backend.tool_versions(command.tools)
    facts = Entry(
        overrides=[line_of(words_of(recipe))],
        mmtrt=__version__,
        key_schema=KEY_VERSION,
        backend=BackendPin(
            name=backend.name, engine=_engine(choice, stages), because=choice.because
        ),
        gpu=dict(backend.gpu_class() or {}),
        tools=tools,
        patches={stage.id: _edits(stage) for stage, _ in lowered if isinstance(stage, Patch)},
        local=_local(lowered, store),
    )
    fetches = tuple(
        Fetch(stage, command)
        for stage, command in lowered
        if isinstance(stage, (Clone, Env)) or (isinstance(stage, Download) and stage.repo_id)
    )
    return Needs(name_of(recipe), facts, fetches, choice)


def recorded(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that a lock depends on, as they were typed."""
    return [
        word
        for word in overrides
        if word.lstrip("+~").partition("=")[0].partition(".")[0] not in NOT_PINNED
    ]


def words_of(recipe: Recipe) -> list[str]:
    """Return the overrides with the variant, which a later recipe may choose otherwise."""
    words = [FORMS.text(word) for word in recorded(recipe.overrides)]
    if any(word.startswith("variant=") for word in words):
        return words
    return [*words, f"variant={recipe.variant_name}"]


def names_of(stage: Download | Clone | Env) -> list[str]:
    """Return what people may call what a stage fetches, beside the stage's id."""
    if isinstance(stage, Download):
        return [str(stage.repo_id)]
    if isinstance(stage, Clone):
        return [stage.url]
    return [re.match(r"[\w.-]*", each)[0] or each for each in stage.requirements]  # type: ignore[index]


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


def _local(lowered: Sequence[tuple[Stage, Command]], store: Store) -> dict[str, str]:
    """Return the digests of the models that the user gave by path, where they are there."""
    found = {}
    for stage, command in lowered:
        if isinstance(stage, Download) and not stage.repo_id:
            for place in command.places():
                if isinstance(place, Local) and Path(place.path).exists():
                    found[stage.id] = store.local_digest(
                        Path(place.path), stage.include, stage.exclude
                    )
    return found
