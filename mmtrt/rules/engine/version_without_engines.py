"""Flag a TensorRT-LLM that builds no engines, or another one than the commands are for.

## What it checks
``trtllm.version`` against the last version with the TensorRT backend, and against the TensorRT-LLM
that is installed here.

## Why it matters
Later versions have the PyTorch workflow only. And keys and manifests name ``trtllm.version``: an
engine that another version built would be taken for what it is not.

## Example
    mmtrt check recipe=llava backend=trtllm trtllm.version=1.4.0

## Use instead
    mmtrt check recipe=llava backend=trtllm trtllm.version=1.2.1

## Source
Release notes of TensorRT-LLM 1.3.0rc20, "the last one supporting the TensorRT backend".
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.backends.trtllm import is_supported
from mmtrt.config.schema import TrtllmChoice
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for a version without engines, a warning for another one than installed."""
    recipe, version = plan.recipe, plan.recipe.settings.trtllm.version
    used = any("tensorrt-llm" in node.command.tools for node in plan.active() if node.command)
    if plan.choice.backend.name != "trtllm" or not used:
        return
    if recipe.workflow == "engine" and not is_supported(version):
        yield Finding(
            code="ENG206",
            severity="error",
            message=f"TensorRT-LLM {version} builds no engines",
            at=recipe.where(("trtllm", "version")),
            why="1.3.0rc20 is the last one with the TensorRT backend",
            fix=f"trtllm.version={TrtllmChoice().version}",
        )
        return
    installed = plan.choice.host.version("tensorrt-llm")
    if installed is not None and installed.partition("+")[0] != version:
        usable = recipe.workflow == "pytorch" or is_supported(installed)
        yield Finding(
            code="ENG206",
            severity="warning",
            message=f"TensorRT-LLM {installed} is installed, the commands are for {version}",
            at=recipe.where(("trtllm", "version")),
            why="keys and manifests would name the wrong version",
            fix=f"trtllm.version={installed.partition('+')[0]}"
            if usable
            else f"pip install tensorrt-llm=={version}",
        )
