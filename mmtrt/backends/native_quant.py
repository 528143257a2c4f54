"""The native ``quantize`` stage: its formats, their blocks, what it calibrates with."""

from __future__ import annotations

from pathlib import Path

from mmtrt.backends.base import Command, In, Local, Out, Python, Skip, Word
from mmtrt.config.recipe import Recipe
from mmtrt.config.root import ASSET_SCHEME, asset
from mmtrt.stages import Quantize

CALIBRATED = ("int4_awq", "int8_sq")
"""Formats that look at what layers take in before they round."""
FLOAT8 = "fp8"
"""Float8 weights; what they are multiplied by keeps its type."""
FORMATS = ("none", "int8_wo", "int4_wo", *CALIBRATED)
"""Number formats that ONNX Runtime has operators for; :mod:`mmtrt.native.quantize` writes
:data:`FLOAT8` too."""

BLOCK_SIZES = {"int8_wo": 128, "int4_wo": 64, "int4_awq": 128}
"""Weights per scale by the format; int8_sq and fp8 have one for each output.

*Chosen*: the smallest that make float16 weights 1.9 times smaller with int8 and 3.5 times with
int4; int4_awq, which has scales of its inputs too, has TensorRT-LLM's.
"""

CALIBRATION_SET = "asset://pictures"
"""What a format is calibrated with where neither recipe nor user names a set."""
CALIBRATION_SIZE = 32
"""Samples where nobody says. *Chosen*: as many as TensorRT-LLM's quantize.py uses for int4_awq."""

SAMPLES = ("labels.json", "*.jsonl", "*.txt")
"""Files of a calibration set. Source: ``mmtrt.native.calibration_set``."""


def calibration_dir(recipe: Recipe, stage: Quantize) -> Path:
    """Return the place of a stage's calibration set.

    Raises:
        RecipeError: CFG107, if it is an asset that does not exist.
    """
    name = stage.calib_dataset or CALIBRATION_SET
    if name.startswith(ASSET_SCHEME):
        return asset(name, recipe.config_dirs)
    return Path(name).expanduser()


def quantization(stage: Quantize, recipe: Recipe) -> Command | Skip:
    """Return the command of a quantization; rule QNT104 refuses a set without samples."""
    if stage.format == "none":
        return Skip("quant=none")
    words: list[Word] = ["--format", stage.format]
    if stage.format in BLOCK_SIZES:
        words += ["--block-size", str(stage.block_size or BLOCK_SIZES[stage.format])]
    tools: tuple[str, ...] = ("onnxruntime", "numpy", "safetensors")
    if stage.format == FLOAT8:
        tools = ("torch", "numpy", "safetensors")
    if stage.format in CALIBRATED:
        words += ["--model-dir", In("model")]
        words += ["--calib-dataset", Local("calib", str(calibration_dir(recipe, stage)))]
        words += ["--calib-size", str(stage.calib_size or CALIBRATION_SIZE)]
        tools += ("torch", "transformers", "pillow", "tokenizers")
    return Command(
        argv=(Python(), "-m", "mmtrt.native.quantize", "--checkpoint-dir", In("checkpoint"))
        + ("--output-dir", Out(), *words),
        outputs={"llm": "llm"},
        tools=tools,
    )
