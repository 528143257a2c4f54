"""Build the language model's engine: one graph for the prefill and for every decode step.

Ids from vocab_size on address rows of a table of visual features. The KV cache goes in and comes
out; its length is --max-seq-len. Limits that are not given follow from the others:
--max-num-tokens is max_batch_size x max_input_len, --max-multimodal-len is max_batch_size x the
visual features of one image.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmtrt.native.component import Component, read_component
from mmtrt.native.engine_config import write_engine_config
from mmtrt.native.errors import NativeError, report
from mmtrt.native.families import family_of
from mmtrt.native.flags import add_directory, add_engine, positive, stage_parser
from mmtrt.native.limits import LlmLimits, check_limits
from mmtrt.native.onnx_export import MODEL_FILE, ExportedGraph, export_onnx
from mmtrt.native.progress import mebibytes, say
from mmtrt.native.weights import load_weights

_TRACED_ROWS = 3
_TRACED_TOKENS = 5

# Rotations that change with the length of the prompt cannot become constants of a graph.
# Source: transformers 5.23, modeling_rope_utils.dynamic_rope_update.
_DYNAMIC_ROPES = ("dynamic", "longrope")


def build_llm(checkpoint_dir: Path, output_dir: Path, *, engine: str, limits: LlmLimits) -> None:
    """Write ``model.onnx`` and ``config.json`` of a language model component.

    Raises:
        NativeError: ART2xx or MDL2xx, if the checkpoint cannot be used; ENG2xx, if the limits
            contradict each other or the model.
    """
    component = read_component(checkpoint_dir, "llm")
    check_limits(limits)
    _check_model(component, limits.max_seq_len)
    layers = component.hf_config.get("num_hidden_layers", "default")
    packed = f", {component.quantization.format}" if component.quantization else ""
    say(
        f"exporting the LLM: {layers} layers, hidden {component.hidden_size}, "
        f"max_seq_len {limits.max_seq_len}, {component.dtype}{packed}"
    )
    model = family_of(component.family).language_model(component)
    if component.quantization:
        from mmtrt.native.matmul_nbits import replace_linears

        replace_linears(model, component.quantization)
    load_weights(model, checkpoint_dir, tied_head=component.tie_word_embeddings)
    output_dir.mkdir(parents=True, exist_ok=True)
    graph = _export(model, component, limits.max_seq_len, output_dir)
    write_engine_config(
        output_dir, component, checkpoint_dir, engine=engine, limits=limits.to_json(), graph=graph
    )
    say(f"wrote the LLM engine: {mebibytes(graph.size_bytes)} in {MODEL_FILE}")


def _check_model(component: Component, max_seq_len: int) -> None:
    config = component.hf_config
    window = config.get("sliding_window")
    if config.get("use_sliding_window") is False:
        window = None
    if window is not None and max_seq_len > window:
        raise NativeError(
            f"max_seq_len is {max_seq_len}, the model's attention window is {window}",
            code="ENG202",
            why="the graph attends to the whole cache, which equals the model up to its window",
            fix=f"use --max-seq-len {window} or less",
        )
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind in _DYNAMIC_ROPES:
        raise NativeError(
            f"rope_type {kind!r} is not supported",
            code="ENG203",
            why="its rotations change with the length of the prompt",
        )


def _export(model: Any, component: Component, max_seq_len: int, output_dir: Path) -> ExportedGraph:
    import torch

    from mmtrt.native.llm_graph import CacheShape, PromptTableLlm

    cache = CacheShape.of(model.config, max_seq_len)
    batch = 2
    ids = torch.zeros((batch, _TRACED_TOKENS), dtype=torch.int64)
    args = (
        ids,
        ids.clone(),
        torch.zeros(1, dtype=torch.int64),
        torch.ones((batch, max_seq_len), dtype=torch.bool),
        torch.zeros((_TRACED_ROWS, component.hidden_size)),
        cache.zeros(batch),
        cache.zeros(batch),
    )
    side = {name: torch.export.Dim(name) for name in ("batch", "tokens", "rows")}
    by_batch = {0: side["batch"]}
    by_token = {0: side["batch"], 1: side["tokens"]}
    caches = [by_batch] * cache.layers
    shapes = (by_token, by_token, None, by_batch, {0: side["rows"]}, caches, caches)
    keys = [f"keys_{layer}" for layer in range(cache.layers)]
    values = [f"values_{layer}" for layer in range(cache.layers)]
    return export_onnx(
        PromptTableLlm(model, max_seq_len),
        args,
        shapes,
        input_names=["ids", "positions", "start", "kv_mask", "table", *keys, *values],
        output_names=["logits", *(f"{name}_out" for name in (*keys, *values))],
        output_dir=output_dir,
        weight_dtype=component.dtype,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; see ``--help``."""
    parser = stage_parser("build_llm", __doc__)
    add_directory(parser, "--checkpoint-dir", "the llm directory that convert or quantize wrote")
    add_directory(parser, "--output-dir", "where the engine is written")
    add_engine(parser)
    limits = (
        ("--max-batch-size", True, "requests in one call"),
        ("--max-input-len", True, "tokens of a prompt, visual features included"),
        ("--max-seq-len", True, "tokens of a prompt and its answer"),
        ("--max-num-tokens", False, "tokens in one call, padding included"),
        ("--max-multimodal-len", False, "rows of visual features for a full batch"),
    )
    for flag, required, text in limits:
        parser.add_argument(flag, type=positive, required=required, metavar="N", help=text)
    flags = parser.parse_args(argv)
    return report(lambda: _build(flags))


def _build(flags: argparse.Namespace) -> None:
    batch: int = flags.max_batch_size
    features = read_component(flags.checkpoint_dir, "llm").num_visual_features
    limits = LlmLimits(
        max_batch_size=batch,
        max_input_len=flags.max_input_len,
        max_seq_len=flags.max_seq_len,
        max_num_tokens=flags.max_num_tokens or batch * flags.max_input_len,
        max_multimodal_len=flags.max_multimodal_len or batch * features,
    )
    build_llm(flags.checkpoint_dir, flags.output_dir, engine=flags.engine, limits=limits)


if __name__ == "__main__":
    raise SystemExit(main())
