"""The table of stage types, in pipeline order."""

from __future__ import annotations

from mmtrt.stages.assemble import Assemble
from mmtrt.stages.base import Stage
from mmtrt.stages.build_llm import BuildLlm
from mmtrt.stages.build_vision import BuildVision
from mmtrt.stages.clone import Clone
from mmtrt.stages.convert import Convert
from mmtrt.stages.download import Download
from mmtrt.stages.env import Env
from mmtrt.stages.evaluate import Eval
from mmtrt.stages.patch import Edit, Patch
from mmtrt.stages.quantize import Quantize
from mmtrt.stages.run import Run
from mmtrt.stages.serve import Serve
from mmtrt.stages.write import Write

STAGE_TYPES: dict[str, type[Stage]] = {
    stage.KIND: stage
    for stage in (
        Download,
        Clone,
        Env,
        Write,
        Patch,
        Convert,
        Quantize,
        BuildLlm,
        BuildVision,
        Assemble,
        Run,
        Eval,
        Serve,
    )
}

__all__ = [
    "STAGE_TYPES",
    "Assemble",
    "BuildLlm",
    "BuildVision",
    "Clone",
    "Convert",
    "Download",
    "Edit",
    "Env",
    "Eval",
    "Patch",
    "Quantize",
    "Run",
    "Serve",
    "Stage",
    "Write",
]
