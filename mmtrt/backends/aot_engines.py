"""Native engines that AOTInductor compiles: for which machine, what stages add, when ``auto`` may.

A package holds code for one GPU class or processor class and for one version of PyTorch, so all of
these are in the key of the engine.
"""

from __future__ import annotations

import dataclasses

from mmtrt.backends.base import Command, Skip
from mmtrt.backends.native_quant import FLOAT8
from mmtrt.config.recipe import Recipe
from mmtrt.errors import PlanError
from mmtrt.host import HostInfo
from mmtrt.stages import BuildLlm, BuildVision, Eval, Run, Stage

AOT_ENGINE = "aot_inductor"
FORMATS: tuple[str, ...] = ("none", "int8_wo", "int4_wo", "int4_awq", FLOAT8)
"""Number formats of ``quant`` that become packages; ``int8_sq`` is operators of ONNX Runtime."""
MAX_RANKS = 64
"""*Chosen*: as for TensorRT-LLM; the heads of a model and the GPUs of a host end sooner."""

_LLM_FILE, _VISION_FILE = "aot.json", "graph.pt2"


@dataclasses.dataclass(frozen=True)
class AotTarget:
    """The machine that packages are compiled on and for."""

    sm: int | None
    """Compute capability of its GPU; ``None``: they run on the processor."""
    cpu: str
    torch: str
    """Version; ``absent`` where it is not installed."""

    @property
    def device(self) -> str:
        """The value of ``--device``."""
        return "cpu" if self.sm is None else "cuda"

    @property
    def gpu_class(self) -> dict[str, str | int]:
        """What the engines are tied to, for their keys."""
        # The calls around GPU kernels are compiled for the processor, too.
        gpu: dict[str, str | int] = {} if self.sm is None else {"sm": self.sm}
        return {**gpu, "cpu": self.cpu, "torch": self.torch}

    @property
    def title(self) -> str:
        """Tool, version and target for people."""
        target = "this processor" if self.sm is None else f"sm {self.sm}"
        return f"torch {self.torch.replace('absent', 'not installed')} for {target}"

    def prepared(self, stages: list[Stage]) -> list[Stage]:
        """Return the stages; on a processor pictures stay with ONNX Runtime.

        Its graph is made in seconds, and is the one that other choices of ``engine`` and ``tp``
        have built already.
        """
        if self.sm is not None:
            return stages
        return [
            dataclasses.replace(stage, engine="onnxruntime")
            if isinstance(stage, BuildVision)
            else stage
            for stage in stages
        ]

    def lowered(self, command: Command | Skip, stage: Stage) -> Command | Skip:
        """Return the command of a stage with what packages add to it."""
        if isinstance(command, Skip) or not isinstance(stage, (BuildLlm, BuildVision, Run, Eval)):
            return command
        if isinstance(stage, BuildLlm):
            command = self._build(command, _LLM_FILE, stage.dtype)
        if isinstance(stage, BuildVision):
            if stage.engine != AOT_ENGINE:
                return dataclasses.replace(command, is_portable=True)
            command = self._build(command, _VISION_FILE, stage.dtype)
        # One compiles for all ranks, which then take a GPU each.
        gpus = stage.tp if isinstance(stage, (Run, Eval)) else 1
        resources = dataclasses.replace(command.resources, gpus=0 if self.sm is None else gpus)
        return dataclasses.replace(command, resources=resources)

    def _build(self, command: Command, file: str, dtype: str) -> Command:
        return dataclasses.replace(
            command,
            argv=(*command.argv, "--device", self.device, "--dtype", dtype),
            outputs={**command.outputs, "engine": file},
            tools=("torch", "transformers", "safetensors"),
        )


def aot_target(recipe: Recipe, host: HostInfo) -> AotTarget:
    """Return what packages are compiled with and for: a GPU where there is one that PyTorch uses.

    Raises:
        PlanError: ENG106 if no package can hold the recipe's language model.
    """
    if AOT_ENGINE not in recipe.file.engines:
        raise PlanError(
            f"engine={AOT_ENGINE} has no graph for recipe {recipe.name}",
            code="ENG106",
            at=recipe.where(("engine",)),
            why="its packages hold plain Llama, Mistral and Qwen2 language models that read visual "
            "features from a prompt table",
            fix="engine=onnxruntime",
        )
    sm = recipe.settings.target.sm
    if sm is None and host.gpus and host.torch_cuda is not None:
        sm = host.gpus[0].sm
    return AotTarget(sm, host.cpu, host.version("torch") or "absent")


def formats_of(recipe: Recipe) -> tuple[str, ...]:
    """Return the number formats of packages: ranks share weights that are not packed alone."""
    return FORMATS if recipe.settings.tp == 1 else FORMATS[:1]


def auto_engine(recipe: Recipe, host: HostInfo) -> tuple[str, str]:
    """Return what ``engine=auto`` means here, and why.

    Packages only where they are worth minutes of compiling, on a GPU, or where nothing else will
    do. A plan of TensorRT is made where it is asked for.
    """
    tp = recipe.settings.tp
    if tp > 1 and AOT_ENGINE in recipe.file.engines:
        return AOT_ENGINE, f"tp={tp}, and other graphs cannot exchange sums between ranks"
    quant = recipe.settings.quant.name
    if quant == FLOAT8 and AOT_ENGINE in recipe.file.engines:
        return AOT_ENGINE, f"quant={quant}, and no other engine has float8 weights"
    against = _why_not(recipe, host)
    if against is not None:
        return "onnxruntime", against
    gpu = host.gpus[0].name
    return AOT_ENGINE, f"{gpu} is here, with PyTorch for CUDA {host.torch_cuda}"


def against_host(host: HostInfo) -> str | None:
    """Return why ``engine=auto`` never takes packages on this host; ``None`` if it may."""
    if not host.gpus:
        return "this host shows no GPU"
    if host.torch_cuda is None:
        return "a GPU is here, but no PyTorch for CUDA"
    if host.cxx is None:
        return f"{AOT_ENGINE} needs a C++ compiler, and none is here"
    return None


def _why_not(recipe: Recipe, host: HostInfo) -> str | None:
    target, quant = recipe.settings.target.sm, recipe.settings.quant.name
    against = against_host(host)
    if against is not None:
        return against
    if target not in (None, host.gpus[0].sm):
        return f"target.sm={target} is not this host's GPU"
    if AOT_ENGINE not in recipe.file.engines:
        return f"{AOT_ENGINE} has no graph for {recipe.name}"
    if quant not in FORMATS:
        return f"{AOT_ENGINE} has no quant={quant}"
    return None
