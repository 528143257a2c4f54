"""Native engines that are TensorRT plans: which GPUs they can be for, and what their stages add."""

from __future__ import annotations

import dataclasses
import re

from mmtrt.backends.base import Command, Side, Skip, Unkeyed, Word
from mmtrt.config.recipe import Recipe
from mmtrt.errors import PlanError
from mmtrt.host import HostInfo
from mmtrt.stages import BuildLlm, BuildVision, Eval, Run, Stage

PLAN_FILE = "model.plan"
TIMING_CACHE = "timing.cache"
"""Name of a build's kernel timings in its working directory."""

FORMATS = ("none",)
"""Number formats of ``quant`` that become plans: the packed weights of the others are operators of
ONNX Runtime, of which TensorRT-RTX 1.7.1 says that "input tensor A must be FP16" (*measured*)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanEngine:
    """One of the packages that compile plans."""

    name: str
    """The value of ``engine``; also what is imported."""
    distributions: tuple[str, ...]
    """Distributions that bring it, the one of mmtrt's extra first."""
    install_hint: str
    sms: tuple[int, ...] | None
    """Compute capabilities that it builds for anywhere; ``None``: for the GPU in use, whichever."""


PLAN_ENGINES = {
    engine.name: engine
    for engine in (
        PlanEngine(
            name="tensorrt",
            distributions=("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
            install_hint="pip install 'mmtrt[native,tensorrt]'",
            sms=None,
        ),
        # Source: ComputeCapability of TensorRT-RTX 1.7.1. It also names 75, for which it refuses
        # float32 matrix products (*measured*), and no 90: data-centre GPUs are TensorRT's.
        PlanEngine(
            name="tensorrt_rtx",
            distributions=("tensorrt-rtx-cu13", "tensorrt-rtx-cu12", "tensorrt-rtx"),
            install_hint="pip install 'mmtrt[native,tensorrt-rtx]'",
            sms=(80, 86, 89, 120, 121),
        ),
    )
}


@dataclasses.dataclass(frozen=True)
class PlanTarget:
    """The package of a plan of stages, and the GPU that its engines are for."""

    engine: PlanEngine
    sm: int
    distribution: str
    version: str
    """``absent`` where the package is not installed."""

    @property
    def gpu_class(self) -> dict[str, str | int]:
        """What the engines are tied to, for their keys."""
        return {"sm": self.sm, self.engine.name: self.version}

    @property
    def title(self) -> str:
        """Package, version and target for people."""
        version = self.version.replace("absent", "not installed")
        return f"{self.engine.name} {version} for sm {self.sm}"

    def lowered(self, command: Command | Skip, stage: Stage) -> Command | Skip:
        """Return the command of a stage with what plans add to it."""
        if isinstance(command, Skip):
            return command
        if isinstance(stage, (BuildLlm, BuildVision)):
            return self._build(command, stage)
        if isinstance(stage, (Run, Eval)):
            return self._with(command, gpus=1)
        return command

    def _build(self, command: Command, stage: Stage) -> Command:
        command = dataclasses.replace(
            command,
            argv=(*command.argv, "--compute-capability", str(self.sm)),
            outputs={
                name: PLAN_FILE if name == "engine" else path
                for name, path in command.outputs.items()
            },
        )
        if self.engine.sms is not None:
            return self._with(command, gpus=0)
        cache = Side(f"timing/{self._cache_name(stage)}.cache")
        timing: tuple[Word, ...] = (
            *(Unkeyed("--timing-cache"), Unkeyed(cache)),
            *(Unkeyed("--new-timing-cache"), Unkeyed(TIMING_CACHE)),
        )
        command = dataclasses.replace(
            command, argv=command.argv + timing, keeps={TIMING_CACHE: cache}
        )
        return self._with(command, gpus=1)

    def _cache_name(self, stage: Stage) -> str:
        """Return a name for each stage, since stages of one plan are built at the same time."""
        parts = (self.engine.name, self.version, f"sm{self.sm}", stage.KIND)
        return re.sub(r"[^\w.-]+", "-", "-".join(parts))

    def _with(self, command: Command, *, gpus: int) -> Command:
        return dataclasses.replace(
            command,
            tools=(*command.tools, self.distribution),
            resources=dataclasses.replace(command.resources, gpus=gpus),
        )


def plan_target(name: str, recipe: Recipe, host: HostInfo) -> PlanTarget:
    """Return what plans of an engine format are built with and for.

    Raises:
        PlanError: ENG104 if nothing says which GPU they are for; ENG105 if the package cannot
            build for it.
    """
    engine = PLAN_ENGINES[name]
    asked = recipe.settings.target.sm
    sm = asked if asked is not None else host.gpus[0].sm if host.gpus else None
    at = recipe.where(("target", "sm"))
    if sm is None:
        raise PlanError(
            f"nothing says which GPU engine={name} is for",
            code="ENG104",
            at=at,
            why="a plan holds code for one compute capability, and this host shows no GPU",
            fix="name it, such as target.sm=89",
        )
    if engine.sms is not None and sm not in engine.sms:
        raise PlanError(
            f"engine={name} cannot be built for compute capability {sm}",
            code="ENG105",
            at=at,
            why="float32 matrix products are refused there"
            if sm == 75
            else f"this package builds for {', '.join(map(str, engine.sms))}",
            fix="engine=tensorrt on a machine with that GPU",
        )
    found = [(each, version) for each in engine.distributions if (version := host.version(each))]
    distribution, version = found[0] if found else (engine.distributions[0], "absent")
    return PlanTarget(engine, sm, distribution, version)
