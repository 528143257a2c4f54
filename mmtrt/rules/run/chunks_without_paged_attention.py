"""Flag chunked context on an engine without paged context attention.

## What it checks
``run.enable_chunked_context`` against the flags ``use_paged_context_fmha``, ``context_fmha`` and
``kv_cache_type`` of the language model's build.

## Why it matters
The runtime asserts that all three are on when it loads the engine, which must then be built again.

## Example
    mmtrt check recipe=vila run.enable_chunked_context=true +recipe.stages.build_llm.flags.use_paged_context_fmha=disable

## Use instead
    mmtrt check recipe=vila run.enable_chunked_context=true

## Source
TensorRT-LLM 1.2 C++ runtime: "Chunked context requires context FMHA, paged kv_cache and paged
context FMHA all enabled at the same time"; flags of ``trtllm-build``.
"""  # noqa: E501 - the examples are commands

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.request import asked_of_runner
from mmtrt.stages import BuildLlm

NEEDED = {
    "use_paged_context_fmha": "enable",
    "context_fmha": "enable",
    "paged_kv_cache": "enable",
    "kv_cache_type": "paged",
}
"""Flag -> the value that chunks need, which is also what the tool takes where it is not given."""


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for the first flag that is in the way."""
    run = asked_of_runner(plan)
    if run is None or not run.enable_chunked_context or not plan.recipe.sessions:
        return
    for node in plan.nodes:
        if not isinstance(node.stage, BuildLlm):
            continue
        flags = node.stage.flags
        for flag, wanted in NEEDED.items():
            if str(flags.get(flag, wanted)).lower() != wanted:
                yield Finding(
                    code="RUN114",
                    severity="error",
                    message=f"chunked context needs {flag} {wanted}, not {flags[flag]}",
                    at=plan.recipe.where(("recipe", "stages", node.id, "flags", flag)),
                    why="the runtime refuses to load such an engine",
                    fix=f"++recipe.stages.{node.id}.flags.{flag}={wanted}",
                )
                return
