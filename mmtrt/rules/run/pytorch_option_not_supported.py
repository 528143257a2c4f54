"""Flag an option of the PyTorch workflow that the family does not work with.

## What it checks
Attention backend, chunked prefill and reuse of KV cache blocks against what the family needs: in
``run.*``, in the flags of the stages ``run`` and ``serve``, and in the options file that a
``write`` stage makes for the server.

## Why it matters
Picture tokens that attend to each other both ways need a mask that one attention backend has, and a
picture in one piece. Otherwise the answer is wrong, or the tool refuses.

## Example
    mmtrt check recipe=gemma3 run.enable_chunked_prefill=true

## Use instead
    mmtrt check recipe=gemma3

## Source
TensorRT-LLM 1.2 multimodal README, section Gemma3, "Requirements".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmtrt.config.schema import RunnerFacts
from mmtrt.plan.graph import Node, Plan
from mmtrt.rules.base import Finding
from mmtrt.stages import Run, Serve, Write

FILE_FLAGS = ("extra_llm_api_options", "config")
"""``trtllm-serve``'s names of the options file."""


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for every option that does not hold."""
    recipe, needs = plan.recipe, plan.recipe.file.runner
    if recipe.workflow != "pytorch":
        return
    for node in plan.active():
        if isinstance(node.stage, Run):
            flags = node.stage.flags
            options = {
                "attn_backend": flags.get("attention_backend"),
                "enable_chunked_prefill": node.stage.enable_chunked_prefill
                or flags.get("enable_chunked_prefill"),
                "kv_cache_config": {"enable_block_reuse": not flags.get("disable_kv_cache_reuse")},
            }
            asked = node.stage.enable_chunked_prefill
            yield from _findings(plan, node, needs, options, chunks_asked=asked)
        elif isinstance(node.stage, Serve):
            options = dict(_options(plan, node))
            if node.stage.flags.get("enable_chunked_prefill"):
                options["enable_chunked_prefill"] = True
            yield from _findings(plan, node, needs, options)


def _findings(
    plan: Plan,
    node: Node,
    needs: RunnerFacts,
    options: Mapping[str, Any],
    *,
    chunks_asked: bool = False,
) -> Iterator[Finding]:
    cache = options.get("kv_cache_config")
    reuse = not isinstance(cache, Mapping) or cache.get("enable_block_reuse", True)
    backend = options.get("attn_backend") or "TRTLLM"
    chunks = options.get("enable_chunked_prefill")
    serves = isinstance(node.stage, Serve)
    flags = f"++recipe.stages.{node.id}.flags"
    wrong = []
    if needs.attention_backend not in (None, backend):
        name = needs.attention_backend
        wrong.append((f"attention backend {backend}", f"attn_backend: {name}", "attention_backend"))
    if chunks and not needs.chunked_prefill:
        wrong.append(("chunked prefill", "enable_chunked_prefill: false", "enable_chunked_prefill"))
    if reuse and not needs.block_reuse:
        line = "kv_cache_config: {enable_block_reuse: false}"
        wrong.append(("reuse of KV cache blocks", line, "disable_kv_cache_reuse"))
    for what, line, flag in wrong:
        value = {"attention_backend": needs.attention_backend, "disable_kv_cache_reuse": "true"}
        fix = f"{flags}.{flag}={value.get(flag, 'false')}"
        key: tuple[str, ...] = ("recipe", "stages", node.id, "flags")
        if flag == "enable_chunked_prefill" and chunks_asked:
            fix, key = "run.enable_chunked_prefill=false", ("run", flag)
        yield Finding(
            code="RUN106",
            severity="error",
            message=f"{plan.recipe.name} does not work with {what} (stage {node.id})",
            at=plan.recipe.where(key),
            why="its picture tokens attend to each other both ways",
            fix=f"in the server's options file: {line}" if serves else fix,
        )


def _options(plan: Plan, node: Node) -> Mapping[str, Any]:
    """Return what the server's options file says, empty if the plan writes none."""
    import yaml  # only these plans need it

    name = next((node.stage.flags[f] for f in FILE_FLAGS if f in node.stage.flags), None)
    source = node.stage.needs.get("options", "").partition("/")[0]
    made = next((n.stage for n in plan.nodes if n.id == source), None)
    if not isinstance(made, Write) or not isinstance(name, str):
        return {}
    text = dict(made.files).get(name.partition("/")[2], "")
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}
