"""The table of stage types, in pipeline order."""

from __future__ import annotations

from mmtrt.stages.assemble import Assemble
from mmtrt.stages.base import Stage
from mmtrt.stages.build_llm import BuildLlm
from mmtrt.stages.build_vision import BuildVision
from mmtrt.stages.convert import Convert
from mmtrt.stages.download import Download
from mmtrt.stages.patch import Edit, Patch
from mmtrt.stages.quantize import Quantize
from mmtrt.stages.run import Run

STAGE_TYPES: dict[str, type[Stage]] = {
    stage.KIND: stage
    for stage in (Download, Patch, Convert, Quantize, BuildLlm, BuildVision, Assemble, Run)
}

__all__ = [
    "STAGE_TYPES",
    "Assemble",
    "BuildLlm",
    "BuildVision",
    "Convert",
    "Download",
    "Edit",
    "Patch",
    "Quantize",
    "Run",
    "Stage",
]
