"""Build the vision encoder's engine: pixels [N, 3, H, W] -> features [N, rows, hidden].

N is the number of images in one call, up to --max-batch-size; rows are the visual features of one
image; hidden is the hidden size of the language model.
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
from mmtrt.native.weights import load_weights

_CHANNELS = 3


def build_vision(
    checkpoint_dir: Path, output_dir: Path, *, engine: str, max_batch_size: int
) -> None:
    """Write ``model.onnx`` and ``config.json`` of a vision component.

    Raises:
        NativeError: ART2xx or MDL2xx, if the checkpoint cannot be used.
    """
    component = read_component(checkpoint_dir, "vision")
    height, width = component.image_size
    say(f"exporting the vision encoder: {height}x{width} px, {component.num_visual_features} rows")

    import torch

    encoder = family_of(component.family).vision_encoder(component)
    load_weights(encoder, checkpoint_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    graph = export_onnx(
        encoder,
        (torch.zeros(2, _CHANNELS, height, width),),
        ({0: torch.export.Dim("images")},),
        input_names=["pixels"],
        output_names=["features"],
        output_dir=output_dir,
        weight_dtype=component.dtype,
    )
    limits = {"max_batch_size": max_batch_size}
    write_engine_config(
        output_dir, component, checkpoint_dir, engine=engine, limits=limits, graph=graph
    )
    say(f"wrote the vision engine: {mebibytes(graph.size_bytes)} in {MODEL_FILE}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; see ``--help``."""
    parser = stage_parser("build_vision", __doc__)
    add_directory(parser, "--checkpoint-dir", "the vision directory that convert wrote")
    add_directory(parser, "--output-dir", "where the engine is written")
    add_engine(parser)
    parser.add_argument(
        "--max-batch-size", type=positive, default=1, metavar="N", help="images in one call"
    )
    flags = parser.parse_args(argv)
    return report(
        lambda: build_vision(
            flags.checkpoint_dir,
            flags.output_dir,
            engine=flags.engine,
            max_batch_size=flags.max_batch_size,
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
