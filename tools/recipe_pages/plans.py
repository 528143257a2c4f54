"""The plans that a recipe's page shows: those of a machine that has nothing of its own.

Everything goes through the code that plans for people. What differs from machine to machine is
fixed: no GPU, no installed package, the example scripts where NVIDIA's containers keep them, and
empty files in the place of those that a launch line names.
"""

from __future__ import annotations

import shlex
import struct
import zlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import yaml

from mmtrt.config import typed
from mmtrt.config.compose import compose
from mmtrt.config.recipe import Recipe, resolve
from mmtrt.config.root import recipes_root
from mmtrt.config.schema import (
    BackendChoice,
    BackendName,
    LimitChoices,
    QuantChoice,
    QuantName,
    RecipeFile,
    Settings,
    Workload,
    listed,
)
from mmtrt.host import CONTAINER_EXAMPLES, HostInfo
from mmtrt.plan.build import make_plan
from mmtrt.plan.graph import Plan
from mmtrt.report.recipe_view import launch_lines
from mmtrt.rules.base import Finding
from mmtrt.rules.check import find

NOWHERE = HostInfo(
    hostname="any",
    system="Linux",
    python="3",
    cpus=1,
    ram_bytes=0,
    trtllm_examples=CONTAINER_EXAMPLES,
    lookup=False,
)
"""The machine of every page."""

TP_SIZES = (2, 4, 8)
"""Tensor parallel sizes that the pages tell about."""


@dataclass(frozen=True)
class Subject:
    """One recipe, and a directory for the files that stand in for the user's."""

    path: Path
    file: RecipeFile
    stand_ins: Path

    @property
    def name(self) -> str:
        """The value of ``recipe=``."""
        return self.path.stem

    def backend(self, variant: str) -> BackendName:
        """Return the backend that a variant's plan is shown on."""
        wanted = self.file.variants[variant].backend
        if wanted is not None:
            return wanted
        return "trtllm" if "trtllm" in self.file.backends else self.file.backends[0]

    def recipe(
        self,
        variant: str | None = None,
        *,
        quant: QuantName = "none",
        tp: int = 1,
        workload: Workload | None = None,
        limits: LimitChoices | None = None,
    ) -> Recipe:
        """Return a variant as it is, apart from what is asked."""
        name, limits = variant or self.file.default_variant, limits or LimitChoices()
        settings = replace(
            compose([f"recipe={self.name}"]).settings,
            variant=name,
            backend=BackendChoice(name=self.backend(name)),
            quant=_quant_choice(quant),
            tp=tp,
            workload=workload or Workload(),
            model=self._launched.model,
            max_batch_size=limits.max_batch_size,
            max_input_len=limits.max_input_len,
        )
        return resolve(settings)

    @property
    def launch_words(self) -> list[str]:
        """Overrides of the plan that is shown: the launch line's, if the default variant's."""
        words = shlex.split(launch_lines(self.path, self.name)[0])
        overrides = [word for word in words if "=" in word]
        if any(word.startswith("variant=") for word in overrides):
            overrides = [f"recipe={self.name}"]
        return [*overrides, f"backend={self.backend(self.file.default_variant)}"]

    def launched(self) -> Plan:
        """Return the plan of the launch line on the default variant's backend."""
        return make_plan(resolve(self._launched, tuple(self.launch_words)), NOWHERE)

    @cached_property
    def _launched(self) -> Settings:
        settings = compose(self.launch_words).settings
        model, run = settings.model, settings.run
        images = [self._stand_in(image) for image in listed(run.image)]
        return replace(
            settings,
            model=replace(
                model,
                path=self._stand_in(model.path),
                projector=self._stand_in(model.projector),
            ),
            run=replace(
                run,
                image=[image for image in images if image is not None] or None,
                video=self._stand_in(run.video),
                audio=self._stand_in(run.audio),
            ),
        )

    def _stand_in(self, path: str | None) -> str | None:
        """Return a file of the same name; what is fetched or ships with mmtrt stays."""
        if path is None or "://" in path or path.startswith("{"):
            return path
        place = self.stand_ins / Path(path).name
        place.write_bytes(blank(place.suffix))
        return str(place)


def blank(suffix: str) -> bytes:
    """Return what a file holds that only has to be there: a white picture, or a header alone."""
    if suffix != ".png":
        return b"\x00\x00\x00\x18ftypmp42" if suffix == ".mp4" else b"RIFF\x24\x00\x00\x00WAVE"

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    rows = zlib.compress((b"\x00" + b"\xff" * 640) * 480)
    head = struct.pack(">IIBBBBB", 640, 480, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def subjects(stand_ins: Path) -> list[Subject]:
    """Return every recipe that ships with mmtrt and stands on its own, by name."""
    found = []
    for path in sorted((recipes_root() / "recipe").glob("*.yaml")):
        found.append(Subject(path, compose([f"recipe={path.stem}"]).settings.recipe, stand_ins))
    return found


def plan_of(recipe: Recipe) -> Plan:
    """Return the plan of a recipe on the machine of every page."""
    return make_plan(recipe, NOWHERE)


def findings_of(plan: Plan) -> list[Finding]:
    """Return what the rules say of a plan, this machine left aside."""
    return [finding for finding in find(plan) if not finding.code.startswith("HST")]


def tp_sizes(subject: Subject, variant: str) -> list[int]:
    """Return the tensor parallel sizes at which no rule finds an error that tp=1 has not."""

    def errors(tp: int) -> set[str]:
        findings = findings_of(plan_of(subject.recipe(variant, tp=tp)))
        return {finding.code for finding in findings if finding.severity == "error"}

    usual = errors(1)
    return [tp for tp in TP_SIZES if errors(tp) <= usual]


def tp_text(subject: Subject, variant: str) -> str:
    """Return the tensor parallel sizes of a variant in words."""
    if subject.file.variants[variant].facts.num_attention_heads is None:
        return "as its heads allow"
    return ", ".join(map(str, tp_sizes(subject, variant))) or "no"


def _quant_choice(name: QuantName) -> QuantChoice:
    """Return a format as its file below ``recipes/quant`` has it."""
    place = recipes_root() / "quant" / f"{name}.yaml"
    choice, problems = typed.read(QuantChoice, yaml.safe_load(place.read_text(encoding="utf-8")))
    if choice is None:
        raise ValueError(f"{place}: {problems[0].message}")
    return choice
