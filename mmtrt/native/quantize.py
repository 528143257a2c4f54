"""Round a checkpoint's linear weights to int8 or int4 blocks, each with its own scale.

Weight-only and without calibration. Quantized are the projections of the attention and of the MLP.
Embeddings and lm_head keep their type, as TensorRT-LLM's weight-only formats have it by default;
the vision component is passed on unchanged.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmtrt.native.block_quantization import BITS, BLOCK_SIZES, BlockQuantizer, PackedShape
from mmtrt.native.component import CONFIG_FILE, WEIGHTS_FILE, Quantization, read_component
from mmtrt.native.errors import NativeError, report
from mmtrt.native.families import family_of
from mmtrt.native.flags import add_directory, stage_parser
from mmtrt.native.progress import mebibytes, say
from mmtrt.native.safetensors_file import (
    PlannedTensor,
    StoredTensor,
    read_header,
    write_tensors,
)

_DEFAULT_BLOCK_SIZE = 32


def quantize(checkpoint_dir: Path, output_dir: Path, *, format_: str, block_size: int) -> None:
    """Write a checkpoint whose language model has packed linear weights.

    Raises:
        NativeError: ART2xx, if the checkpoint cannot be read; QNT201, if it is quantized already.
    """
    component = read_component(checkpoint_dir / "llm", "llm")
    if component.quantization:
        raise NativeError(
            f"{checkpoint_dir}: the weights are {component.quantization.format} already",
            code="QNT201",
            fix="give --checkpoint-dir the output of convert",
        )
    tensors = read_header(checkpoint_dir / "llm" / WEIGHTS_FILE)
    modules = family_of(component.family).linear_modules(tensors)
    say(f"quantizing the LLM: {len(modules)} linear layers to {format_}, blocks of {block_size}")
    quantization = Quantization(
        format=format_, bits=BITS[format_], block_size=block_size, modules=tuple(sorted(modules))
    )
    llm_dir = output_dir / "llm"
    llm_dir.mkdir(parents=True, exist_ok=True)
    size_bytes = write_tensors(
        llm_dir / WEIGHTS_FILE, _packed(tensors, quantization), keep_order=True
    )
    replace(component, quantization=quantization).write(llm_dir)
    before = sum(tensor.size_bytes for tensor in tensors.values())
    say(f"wrote llm: {mebibytes(size_bytes)} instead of {mebibytes(before)}")
    if (checkpoint_dir / "vision").is_dir():
        _pass_on(checkpoint_dir / "vision", output_dir / "vision")


def _packed(
    tensors: dict[str, StoredTensor], quantization: Quantization
) -> Iterator[PlannedTensor]:
    """Yield all tensors; a weight's scales follow its integers, so that it is rounded once."""
    bits, block_size = quantization.bits, quantization.block_size
    quantizer = BlockQuantizer(bits=bits, block_size=block_size)
    weights = {f"{module}.weight" for module in quantization.modules}
    for name in sorted(tensors):
        tensor = tensors[name]
        if name not in weights:
            yield PlannedTensor(name, tensor.dtype, tensor.shape, tensor.chunks)
            continue
        outputs, inputs = tensor.shape
        shape = PackedShape.of(outputs, inputs, bits=bits, block_size=block_size)
        weight = _PackOnce(quantizer, tensor)
        yield PlannedTensor(f"{name}_packed", "U8", shape.packed, weight.packed)
        yield PlannedTensor(f"{name}_scale", "F32", shape.scale, weight.scale)


class _PackOnce:
    """Holds a weight's scales between the writing of its integers and of the scales."""

    def __init__(self, quantizer: BlockQuantizer, tensor: StoredTensor) -> None:
        self._quantizer, self._tensor = quantizer, tensor
        self._scale: Any = None

    def packed(self) -> Iterator[memoryview]:
        integers, self._scale = self._quantizer.pack(self._tensor)
        yield memoryview(integers).cast("B")

    def scale(self) -> Iterator[memoryview]:
        scale, self._scale = self._scale, None
        yield memoryview(scale).cast("B")


def _pass_on(source: Path, target: Path) -> None:
    """Give the vision component its place in the new checkpoint, without a second copy if possible.

    A hard link and not a symbolic one: the source may be removed from the store on its own.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        (target / name).unlink(missing_ok=True)
        try:
            os.link(source / name, target / name)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source / name, target / name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; see ``--help``."""
    parser = stage_parser("quantize", __doc__)
    add_directory(parser, "--checkpoint-dir", "what convert wrote: llm/ and vision/")
    add_directory(parser, "--output-dir", "where llm/ and vision/ are written")
    parser.add_argument("--format", choices=tuple(BITS), required=True)
    parser.add_argument(
        "--block-size",
        type=int,
        choices=BLOCK_SIZES,
        default=_DEFAULT_BLOCK_SIZE,
        help=f"weights that share a scale (default {_DEFAULT_BLOCK_SIZE})",
    )
    flags = parser.parse_args(argv)
    return report(
        lambda: quantize(
            flags.checkpoint_dir,
            flags.output_dir,
            format_=flags.format,
            block_size=flags.block_size,
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
