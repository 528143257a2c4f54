"""Round a checkpoint's linear weights to 8 or 4 bits, with calibration where the format needs it.

int8_wo and int4_wo round blocks of weights as they are, fp8 all weights of an output together;
fp8 is for packages of aot_inductor alone. int4_awq and int8_sq first run the model on
a calibration set and move size between the inputs of each layer and its weights; int8_sq engines
round the inputs too. Quantized are the projections of the attention and of the MLP. Embeddings and
lm_head keep their type, as TensorRT-LLM's formats have it by default; the vision component is
passed on unchanged.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmtrt.native.block_quantization import (
    BITS,
    BLOCK_SIZES,
    DEFAULT_BLOCK_SIZE,
    BlockQuantizer,
    read_weight,
)
from mmtrt.native.component import CONFIG_FILE, WEIGHTS_FILE, Quantization, read_component
from mmtrt.native.errors import NativeError, report
from mmtrt.native.families import family_of
from mmtrt.native.flags import add_directory, positive, stage_parser
from mmtrt.native.float8 import FLOAT8
from mmtrt.native.packing import packed_tensors
from mmtrt.native.progress import mebibytes, say
from mmtrt.native.safetensors_file import StoredTensor, read_header, write_tensors

CALIBRATED = ("int4_awq", "int8_sq")
FORMATS = ("int8_wo", "int4_wo", *CALIBRATED, FLOAT8)

_DEFAULT_SAMPLES = 32


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a format is calibrated with."""

    model_dir: Path
    """The model's tokenizer and processor."""
    dataset_dir: Path
    """See ``calibration_set``."""
    size: int
    """Most samples."""


def quantize(
    checkpoint_dir: Path,
    output_dir: Path,
    *,
    format_: str,
    block_size: int | None = None,
    calibration: Calibration | None = None,
) -> None:
    """Write a checkpoint whose language model has packed linear weights.

    Args:
        checkpoint_dir: what ``convert`` wrote.
        output_dir: made if needed.
        format_: one of ``FORMATS``.
        block_size: weights that share a scale; the format's own where ``None``. Of no meaning for
            int8_sq and fp8, which have one scale for each output.
        calibration: needed by the formats of ``CALIBRATED``.

    Raises:
        NativeError: ART2xx, if the checkpoint cannot be read; QNT201, if it is quantized already;
            QNT202, if the calibration set cannot be used; QNT203, if the model cannot be
            calibrated; QNT206, if its decoder reads what an encoder wrote.
    """
    if (checkpoint_dir / "decoder").is_dir():
        raise NativeError(
            f"{checkpoint_dir}: the language model is a decoder that reads what an encoder wrote",
            code="QNT206",
            why="number formats are for models of one decoder",
            fix="leave this stage out: quant=none",
        )
    component = read_component(checkpoint_dir / "llm", "llm")
    if component.quantization:
        raise NativeError(
            f"{checkpoint_dir}: the weights are {component.quantization.format} already",
            code="QNT201",
            fix="give --checkpoint-dir the output of convert",
        )
    tensors = read_header(checkpoint_dir / "llm" / WEIGHTS_FILE)
    modules = sorted(family_of(component.family).linear_modules(tensors))
    block_size = (block_size or DEFAULT_BLOCK_SIZE[format_]) if format_ in BITS else 0
    scales: Mapping[str, Any] = {}
    if format_ in CALIBRATED:
        if calibration is None:
            raise NativeError(
                f"{format_} needs a calibration set",
                code="QNT202",
                fix="give --model-dir and --calib-dataset",
            )
        scales = _scales(checkpoint_dir, calibration, tensors, modules, format_, block_size)
    blocks = f", blocks of {block_size}" if block_size else ""
    say(f"quantizing the LLM: {len(modules)} linear layers to {format_}{blocks}")
    quantization = Quantization(
        format=format_,
        bits=BITS.get(format_, 8),
        block_size=block_size,
        modules=tuple(modules),
        scaled=tuple(sorted(scales)),
    )
    llm_dir = output_dir / "llm"
    llm_dir.mkdir(parents=True, exist_ok=True)
    size_bytes = write_tensors(
        llm_dir / WEIGHTS_FILE, packed_tensors(tensors, quantization, scales), keep_order=True
    )
    replace(component, quantization=quantization).write(llm_dir)
    before = sum(tensor.size_bytes for tensor in tensors.values())
    say(f"wrote llm: {mebibytes(size_bytes)} instead of {mebibytes(before)}")
    if (checkpoint_dir / "vision").is_dir():
        _pass_on(checkpoint_dir / "vision", output_dir / "vision")
    if (checkpoint_dir / "vision/audio").is_dir():
        _pass_on(checkpoint_dir / "vision/audio", output_dir / "vision/audio")


def _scales(
    checkpoint_dir: Path,
    calibration: Calibration,
    tensors: Mapping[str, StoredTensor],
    modules: Sequence[str],
    format_: str,
    block_size: int,
) -> dict[str, Any]:
    """Return module -> what its input is multiplied by, float32 ``[K]``, where that is not 1."""
    from mmtrt.native.awq import search_scale
    from mmtrt.native.calibrate import calibrate
    from mmtrt.native.calibration_set import read_samples
    from mmtrt.native.smoothquant import smoothing_scale

    samples = read_samples(calibration.dataset_dir, calibration.size)
    pictures = sum(len(sample.images) for sample in samples)
    say(f"calibrating with {len(samples)} samples, {pictures} pictures")
    groups = calibrate(checkpoint_dir, calibration.model_dir, samples, modules)
    quantizer = BlockQuantizer(bits=BITS.get(format_, 8), block_size=block_size)
    scales: dict[str, Any] = {}
    before = after = 0.0
    while groups:
        # What is done with is let go: the rows of a large model are gigabytes.
        group = groups.pop()
        weights = [read_weight(tensors[f"{module}.weight"]) for module in group.modules]
        if format_ == "int8_sq":
            scale = smoothing_scale(group.largest, weights)
        else:
            found = search_scale(group.kept(), weights, quantizer)
            before, after = before + found.plain_error, after + found.error
            scale = found.pre_quant_scale
        if scale is not None:
            scales |= dict.fromkeys(group.modules, scale)
    if before:
        say(f"AWQ: error of the layers' outputs {after / before:.3f} of that of plain rounding")
    return scales


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
    parser.add_argument("--format", choices=FORMATS, required=True)
    usual = ", ".join(f"{size} for {name}" for name, size in DEFAULT_BLOCK_SIZE.items())
    parser.add_argument(
        "--block-size",
        type=int,
        choices=BLOCK_SIZES,
        help=f"weights that share a scale (default {usual}); not for int8_sq, fp8",
    )
    calibrated = " and ".join(CALIBRATED)
    parser.add_argument(
        "--model-dir",
        type=Path,
        metavar="DIR",
        help=f"the model: tokenizer and image preprocessing (for {calibrated})",
    )
    parser.add_argument(
        "--calib-dataset",
        type=Path,
        metavar="DIR",
        help=f"labels.json, .jsonl or .txt, with pictures beside them (for {calibrated})",
    )
    parser.add_argument(
        "--calib-size",
        type=positive,
        default=_DEFAULT_SAMPLES,
        metavar="N",
        help=f"most samples (default {_DEFAULT_SAMPLES})",
    )
    flags = parser.parse_args(argv)
    calibration = None
    if flags.model_dir is not None and flags.calib_dataset is not None:
        calibration = Calibration(
            model_dir=flags.model_dir, dataset_dir=flags.calib_dataset, size=flags.calib_size
        )
    return report(
        lambda: quantize(
            flags.checkpoint_dir,
            flags.output_dir,
            format_=flags.format,
            block_size=flags.block_size,
            calibration=calibration,
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
