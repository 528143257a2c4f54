"""Build a language model's engine: one graph for the prefill and for every decode step.

Ids from vocab_size on address rows of a table of visual features. The KV cache goes in and comes
out; its length is --max-seq-len. A model that reads and writes apart has two engines, built from
encoder/ and decoder/ of the checkpoint. Limits that are not given follow from the others:
--max-num-tokens is max_batch_size x max_input_len, --max-multimodal-len is max_batch_size x the
visual features of one image, or x max_input_len where those depend on the image.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmtrt.native.aot_engine import (
    AotTarget,
    add_aot_target,
    aot_target_of,
    build_llm_packages,
)
from mmtrt.native.component import Component, ComponentName, read_component
from mmtrt.native.engine_config import write_engine_config
from mmtrt.native.errors import NativeError, report
from mmtrt.native.families import family_of
from mmtrt.native.flags import add_directory, add_engine, positive, stage_parser
from mmtrt.native.float8 import FLOAT8
from mmtrt.native.limits import START_TOKENS, LlmLimits, check_limits
from mmtrt.native.onnx_export import MODEL_FILE, export_onnx
from mmtrt.native.progress import mebibytes, say
from mmtrt.native.tensorrt_lower import PlanTarget, add_target, lower, target_of
from mmtrt.sizing.rotary import rotations_of

PARTS: tuple[ComponentName, ...] = ("llm", "encoder", "decoder")


def build_llm(
    checkpoint_dir: Path,
    output_dir: Path,
    *,
    engine: str,
    limits: LlmLimits,
    target: PlanTarget | None = None,
    aot: AotTarget | None = None,
) -> None:
    """Write ``model.onnx``, a plan or packages for a target, and ``config.json``.

    Raises:
        NativeError: ART2xx or MDL2xx, if the checkpoint cannot be used; ENG2xx, if the limits
            contradict each other or the model; PAR205, if it is split between ranks and the
            engine format cannot have them.
    """
    component = read_component(checkpoint_dir, *PARTS)
    if component.component == "llm":
        check_limits(limits)
    if component.tp_size > 1 and aot is None:
        raise NativeError(
            f"--engine {engine} cannot hold a model that is split between {component.tp_size} "
            "ranks",
            code="PAR205",
            why="its graphs have no operator that lets ranks exchange anything",
            fix="use --engine aot_inductor, or convert with --tp-size 1",
        )
    if aot is None and component.quantization and component.quantization.format == FLOAT8:
        raise NativeError(
            f"{engine} cannot run {FLOAT8} weights",
            code="QNT205",
            why="ONNX Runtime has no operator that multiplies by float8",
            fix="use --engine aot_inductor, or quantize to int8_wo",
        )
    family = family_of(component.family)
    text = family.text_config(component)
    _check_model(text, component.family, limits.max_seq_len)
    packed = f", {component.quantization.format}" if component.quantization else ""
    name = "LLM" if component.component == "llm" else component.component
    verb = "compiling" if aot else "exporting"
    say(
        f"{verb} the {name}: {text.get('num_hidden_layers', 'default')} layers, "
        f"hidden {component.hidden_size}, max_seq_len {limits.max_seq_len}, "
        f"{aot.dtype_of(component) if aot else component.dtype}{packed}"
    )
    if aot is not None:
        build_llm_packages(component, checkpoint_dir, output_dir, limits=limits, target=aot)
        return
    graph = family.graph(component, checkpoint_dir, limits.max_seq_len)
    output_dir.mkdir(parents=True, exist_ok=True)
    exported = export_onnx(
        graph.module,
        graph.args,
        graph.dynamic_shapes,
        input_names=graph.input_names,
        output_names=graph.output_names,
        output_dir=output_dir,
        weight_dtype=component.dtype,
    )
    write_engine_config(
        output_dir,
        component,
        checkpoint_dir,
        engine=engine,
        limits=_of_part(limits, component, has_table="table" in graph.input_names),
        graph=exported,
    )
    say(f"wrote the {name} engine: {mebibytes(exported.size_bytes)} in {MODEL_FILE}")
    lower(output_dir, engine, target or PlanTarget())


def _of_part(limits: LlmLimits, component: Component, *, has_table: bool) -> dict[str, int]:
    """Return the limits that mean something to one engine, by name."""
    foreign: set[str] = set() if has_table else {"max_multimodal_len"}
    if component.component == "encoder":
        foreign |= {"max_seq_len", "max_encoder_input_len"}
    if component.component == "decoder":
        foreign |= {"max_input_len", "max_num_tokens"}
    return {name: value for name, value in limits.to_json().items() if name not in foreign}


def _check_model(text: dict[str, Any], family: str, max_seq_len: int) -> None:
    window = text.get("sliding_window")
    if text.get("use_sliding_window") is False:
        window = None
    if isinstance(window, int) and max_seq_len > window:
        raise NativeError(
            f"max_seq_len is {max_seq_len}, the model's attention window is {window}",
            code="ENG202",
            why="the graph attends to the whole cache, which equals the model up to its window",
            fix=f"use --max-seq-len {window} or less",
        )
    for rope in rotations_of(text, family):
        if rope.depends_on_length and (
            rope.constant_len is None or max_seq_len > rope.constant_len
        ):
            raise NativeError(
                f"max_seq_len is {max_seq_len}, rope_type {rope.rope_type!r} rotates otherwise "
                f"beyond {rope.constant_len}",
                code="ENG203",
                why="the graph holds one set of rotations",
                fix=f"use --max-seq-len {rope.constant_len} or less",
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; see ``--help``."""
    parser = stage_parser("build_llm", __doc__)
    add_directory(parser, "--checkpoint-dir", "llm, encoder or decoder of a checkpoint")
    add_directory(parser, "--output-dir", "where the engine is written")
    add_engine(parser)
    add_target(parser)
    add_aot_target(parser)
    limits = (
        ("--max-batch-size", True, "requests in one call"),
        ("--max-input-len", False, "tokens of a prompt; not for a decoder"),
        ("--max-seq-len", False, "tokens of a prompt and its answer; not for an encoder"),
        ("--max-num-tokens", False, "tokens in one call, padding included"),
        ("--max-multimodal-len", False, "rows of visual features for a full batch"),
        ("--max-encoder-input-len", False, "rows that one request attends to across"),
    )
    for flag, required, text in limits:
        parser.add_argument(flag, type=positive, required=required, metavar="N", help=text)
    flags = parser.parse_args(argv)
    return report(lambda: _build(flags))


def _build(flags: argparse.Namespace) -> None:
    component = read_component(flags.checkpoint_dir, *PARTS)
    part, batch = component.component, flags.max_batch_size
    for flag, value, owners in (
        ("--max-input-len", flags.max_input_len, ("llm", "encoder")),
        ("--max-seq-len", flags.max_seq_len, ("llm", "decoder")),
    ):
        if value is None and part in owners:
            raise NativeError(f"the {part} engine needs {flag}", code="ENG205", fix=f"give {flag}")
    length = flags.max_input_len or START_TOKENS
    rows = component.num_visual_features or length
    limits = LlmLimits(
        max_batch_size=batch,
        max_input_len=length,
        max_seq_len=flags.max_seq_len or length,
        max_num_tokens=flags.max_num_tokens or batch * length,
        max_multimodal_len=flags.max_multimodal_len or batch * rows,
        max_encoder_input_len=flags.max_encoder_input_len,
    )
    build_llm(
        flags.checkpoint_dir,
        flags.output_dir,
        engine=flags.engine,
        limits=limits,
        target=target_of(flags),
        aot=aot_target_of(flags),
    )


if __name__ == "__main__":
    raise SystemExit(main())
