"""Build the vision encoder's engine: pixels -> features [N, rows, hidden].

N is what --max-batch-size counts: images, tiles, or what the family has instead; rows are the
visual features of one of them; hidden is the hidden size of the language model. With --media audio
also the engine of what hears, as audio/: one sound a call -> features [rows, hidden].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmtrt.native.aot_engine import (
    AotTarget,
    add_aot_target,
    aot_target_of,
    build_vision_package,
)
from mmtrt.native.component import Component, read_component
from mmtrt.native.engine_config import write_engine_config
from mmtrt.native.errors import NativeError, report
from mmtrt.native.families import family_of
from mmtrt.native.flags import add_directory, add_engine, add_media, positive, stage_parser
from mmtrt.native.graph import Graph
from mmtrt.native.onnx_export import MODEL_FILE, export_onnx
from mmtrt.native.progress import mebibytes, say
from mmtrt.native.tensorrt_lower import PlanTarget, add_target, lower, target_of


def build_vision(
    checkpoint_dir: Path,
    output_dir: Path,
    *,
    engine: str,
    max_batch_size: int,
    target: PlanTarget | None = None,
    aot: AotTarget | None = None,
    media: Sequence[str] = (),
) -> None:
    """Write ``model.onnx``, a plan or a package for a target, and ``config.json``.

    Raises:
        NativeError: ART2xx or MDL2xx, if the checkpoint cannot be used; MDL208 for sounds with
            another engine format than ``onnxruntime``.
    """
    component = read_component(checkpoint_dir, "vision")
    if "audio" in media and engine != "onnxruntime":
        raise NativeError(
            f"engine={engine} has no engine for sounds",
            code="MDL208",
            fix="use engine=onnxruntime, or no --media",
        )
    height, width = component.image_size
    rows = component.num_visual_features
    say(
        f"exporting the vision encoder: {f'{height}x{width}' if height else 'any number of'} px, "
        f"{rows or 'as many rows as the picture needs'}{' rows' if rows else ''}"
    )
    graph = family_of(component.family).graph(component, checkpoint_dir, 0)
    if aot is not None:
        build_vision_package(
            graph,
            component,
            checkpoint_dir,
            output_dir,
            max_batch_size=max_batch_size,
            target=aot,
        )
        return
    limits = {"max_batch_size": max_batch_size}
    _export(graph, component, checkpoint_dir, output_dir, engine=engine, limits=limits)
    lower(output_dir, engine, target or PlanTarget())
    if "audio" in media:
        source = checkpoint_dir / "audio"
        hearing = read_component(source, "audio")
        say("exporting the sound encoder: one sound of any length")
        graph = family_of(hearing.family).graph(hearing, source, 0)
        limits = {"max_batch_size": 1}
        _export(graph, hearing, source, output_dir / "audio", engine=engine, limits=limits)


def _export(
    graph: Graph,
    component: Component,
    checkpoint_dir: Path,
    output_dir: Path,
    *,
    engine: str,
    limits: Mapping[str, int],
) -> None:
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
        output_dir, component, checkpoint_dir, engine=engine, limits=limits, graph=exported
    )
    size = mebibytes(exported.size_bytes)
    say(f"wrote the {component.component} engine: {size} in {MODEL_FILE}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; see ``--help``."""
    parser = stage_parser("build_vision", __doc__)
    add_directory(parser, "--checkpoint-dir", "the vision directory that convert wrote")
    add_directory(parser, "--output-dir", "where the engine is written")
    add_engine(parser)
    add_target(parser)
    add_aot_target(parser)
    parser.add_argument(
        "--max-batch-size",
        type=positive,
        default=1,
        metavar="N",
        help="images in one call, or tiles, or shares of patch rows",
    )
    add_media(parser, "what else to build an engine for, as audio/")
    flags = parser.parse_args(argv)
    return report(
        lambda: build_vision(
            flags.checkpoint_dir,
            flags.output_dir,
            engine=flags.engine,
            max_batch_size=flags.max_batch_size,
            target=target_of(flags),
            aot=aot_target_of(flags),
            media=flags.media,
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
