"""``core/enc_dec/convert_checkpoint.py``: one directory for the encoder, one for the decoder."""

from __future__ import annotations

from pathlib import Path

from mmtrt.fake import checkpoint, model_dir, parser
from mmtrt.fake.checkpoint import Split
from mmtrt.fake.failure import ToolFailure

READS = {
    "blip2": ("blip-2", ("encoder", "decoder")),
    "pix2struct": ("pix2struct", ("decoder",)),
    "bart": ("vision-encoder-decoder", ("decoder",)),
    "t5": ("t5", ("encoder", "decoder")),
}
"""``--model_type`` -> ``model_type`` of ``config.json``, and what is written."""


def convert(flags: parser.Flags) -> None:
    """Write the checkpoint.

    Raises:
        ToolFailure: if the model is not of ``--model_type``, or weight-only is asked for.
    """
    model = model_dir.load(flags.text("--model_dir"), weights=True)
    asked = flags.text("--model_type") or "t5"
    wanted, parts = READS.get(asked, ("", ()))
    if model.hf_type != wanted:
        raise ToolFailure(
            "AttributeError",
            f"a {model.hf_type} model cannot be read with --model_type {asked}: "
            f"'{model.architecture}' object has no attribute 'encoder'",
        )
    if asked == "blip2" and model.language_model != "T5ForConditionalGeneration":
        raise ToolFailure(
            "ValueError", f"only the T5 kind of BLIP-2 is read here, not {model.language_model}"
        )
    if asked == "bart" and not flags.is_on("--nougat"):
        raise ToolFailure(
            "AttributeError", "'VisionEncoderDecoderConfig' object has no attribute 'd_model'"
        )
    if flags.is_on("--use_weight_only"):
        raise ToolFailure(
            "NotImplementedError", "Weight-only quantization of encoder-decoder models"
        )
    mapping = Split(flags.count("--tp_size") or 1, flags.count("--pp_size") or 1)
    checkpoint.require_division(model, mapping.tp)
    output = Path(str(flags.text("--output_dir")))
    dtype = flags.text("--dtype") or "float16"
    for part in parts:
        checkpoint.write(
            output / part,
            model,
            f"{part.title()}Model",
            dtype,
            mapping,
            {},
            seed=(part, asked),
            extra={"model_type": asked},
        )
