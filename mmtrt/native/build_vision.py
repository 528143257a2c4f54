"""Build the vision encoder's engine: pixels -> features [N, rows, hidden].

N is what --max-batch-size counts: images, tiles, or what the family has instead; rows are the
visual features of one of them; hidden is the hidden size of the language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmtrt.native.component import read_component
from mmtrt.native.engine_config import write_engine_config
from mmtrt.native.errors import report
from mmtrt.native.families import family_of
from mmtrt.native.flags import add_directory, add_engine, positive, stage_parser
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
) -> None:
    """Write ``model.onnx``, or a plan for a ``target``, and ``config.json`` of a vision component.

    Raises:
        NativeError: ART2xx or MDL2xx, if the checkpoint cannot be used.
    """
    component = read_component(checkpoint_dir, "vision")
    height, width = component.image_size
    rows = component.num_visual_features
    say(
        f"exporting the vision encoder: {f'{height}x{width}' if height else 'any number of'} px, "
        f"{rows or 'as many rows as the picture needs'}{' rows' if rows else ''}"
    )
    graph = family_of(component.family).graph(component, checkpoint_dir, 0)
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
    limits = {"max_batch_size": max_batch_size}
    write_engine_config(
        output_dir, component, checkpoint_dir, engine=engine, limits=limits, graph=exported
    )
    say(f"wrote the vision engine: {mebibytes(exported.size_bytes)} in {MODEL_FILE}")
    lower(output_dir, engine, target or PlanTarget())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; see ``--help``."""
    parser = stage_parser("build_vision", __doc__)
    add_directory(parser, "--checkpoint-dir", "the vision directory that convert wrote")
    add_directory(parser, "--output-dir", "where the engine is written")
    add_engine(parser)
    add_target(parser)
    parser.add_argument(
        "--max-batch-size",
        type=positive,
        default=1,
        metavar="N",
        help="images in one call, or tiles, or shares of patch rows",
    )
    flags = parser.parse_args(argv)
    return report(
        lambda: build_vision(
            flags.checkpoint_dir,
            flags.output_dir,
            engine=flags.engine,
            max_batch_size=flags.max_batch_size,
            target=target_of(flags),
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
