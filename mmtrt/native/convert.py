"""Turn a Hugging Face model into one checkpoint per component: llm/ and vision/.

Weights are streamed from file to file: memory stays at a few chunks, however large the model. With
--tp-size the language model is split between ranks, one file each: rank0.safetensors and on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mmtrt.native.casting import DTYPE_NAME, STORED_NAME, cast_tensor
from mmtrt.native.component import Component, ComponentName, place_of, weights_file
from mmtrt.native.errors import NativeError, report
from mmtrt.native.families import family_of
from mmtrt.native.flags import add_directory, add_media, positive, stage_parser
from mmtrt.native.hf_model import HfModel, open_model, read_config
from mmtrt.native.progress import mebibytes, say
from mmtrt.native.safetensors_file import StoredTensor, write_tensors
from mmtrt.native.tensor_split import TensorSplit, sliced, split_of


def convert(
    model_dir: Path,
    output_dir: Path,
    dtype: str,
    *,
    tp_size: int = 1,
    media: Sequence[str] = (),
) -> None:
    """Write ``llm/`` and ``vision/`` of a model under ``output_dir``.

    Args:
        model_dir: a Hugging Face model directory with safetensors weights.
        output_dir: made if needed; files of the same names are replaced.
        dtype: type of the stored weights; ``auto`` keeps every tensor's own.
        tp_size: ranks that the language model is split between.
        media: ``audio``: also what hears, as ``vision/audio/``.

    Raises:
        NativeError: MDL2xx, if the model cannot be read or is not supported, or cannot hear; PAR201
            or PAR202, if its language model cannot be split between so many ranks.
    """
    # The type is asked before the weights: "not a LLaVA" is the better message of the two.
    document = read_config(model_dir)
    family = family_of(document.get("model_type"))
    if isinstance(packed := document.get("quantization_config"), dict) and packed:
        method = packed.get("quant_method", "bitsandbytes")
        raise NativeError(
            f"{model_dir}: the weights are quantized already: {method}",
            code="MDL206",
            why="quantization_config in config.json says so",
            fix="take the model that is not quantized; mmtrt quantizes it: quant=int4_wo",
        )
    model = open_model(model_dir)
    names = family.component_names(model)
    stored = None if dtype == "auto" else STORED_NAME[dtype]
    components = family.components(model, _dtype_name(model, dtype))
    if "audio" not in media:
        components.pop("audio", None)
    elif "audio" not in components:
        raise NativeError(
            f"{family.name}: the model has no part that hears", code="MDL208", fix="no --media"
        )
    split = _split(components, tp_size) if tp_size > 1 else None
    for component, config in components.items():
        directory = output_dir / place_of(component)
        directory.mkdir(parents=True, exist_ok=True)
        own = split if component == "llm" else None
        shared = f", for {own.ranks} ranks" if own else ""
        say(f"converting {component}: {len(names[component])} tensors{shared}")
        size_bytes = 0
        for rank in range(own.ranks if own else 1):
            parts = {target: own.part(target, rank) if own else None for target in names[component]}
            size_bytes += write_tensors(
                directory / weights_file(rank),
                (
                    cast_tensor(sliced(model.tensors[source], parts[target]), target, stored)
                    for target, source in names[component].items()
                ),
            )
        replace(config, tp_size=own.ranks if own else 1).write(directory)
        say(f"wrote {component}: {mebibytes(size_bytes)}, {config.dtype}")


def _split(components: Mapping[ComponentName, Component], tp_size: int) -> TensorSplit:
    if "llm" not in components:
        raise NativeError(
            f"{components['vision'].family}: a model that reads and writes apart runs on one rank",
            code="PAR202",
            fix="--tp-size 1",
        )
    import torch

    llm = components["llm"]
    # Published configurations leave defaults out; transformers knows them.
    with torch.device("meta"):
        config = family_of(llm.family).language_model(llm).config
    return split_of(config, tp_size)


def _dtype_name(model: HfModel, dtype: str) -> str:
    return _common_dtype(model.tensors.values()) if dtype == "auto" else dtype


def _common_dtype(tensors: Iterable[StoredTensor]) -> str:
    """Return the type that most bytes of the weights have."""
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        sizes[tensor.dtype] += tensor.size_bytes
    stored = sizes.most_common(1)[0][0] if sizes else "none"
    if stored not in DTYPE_NAME:
        raise NativeError(
            f"the weights are stored as {stored}",
            code="MDL206",
            fix="pass --dtype float32, float16 or bfloat16",
        )
    return DTYPE_NAME[stored]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; see ``--help``."""
    parser = stage_parser("convert", __doc__)
    add_directory(parser, "--model-dir", "Hugging Face model (config.json and safetensors)")
    add_directory(parser, "--output-dir", "where llm/ and vision/ are written")
    parser.add_argument(
        "--dtype",
        choices=("auto", *STORED_NAME),
        default="auto",
        help="type of the stored weights; auto keeps the model's own (default)",
    )
    parser.add_argument(
        "--tp-size",
        type=positive,
        default=1,
        metavar="N",
        help="ranks that the language model is split between (default 1)",
    )
    add_media(parser, "what else to write beside texts and pictures; audio: vision/audio/")
    flags = parser.parse_args(argv)
    return report(
        lambda: convert(
            flags.model_dir,
            flags.output_dir,
            flags.dtype,
            tp_size=flags.tp_size,
            media=flags.media,
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
