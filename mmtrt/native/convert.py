"""Turn a Hugging Face model into one checkpoint per component: llm/ and vision/.

Weights are streamed from file to file: memory stays at a few chunks, however large the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from mmtrt.native.casting import DTYPE_NAME, STORED_NAME, cast_tensor
from mmtrt.native.component import WEIGHTS_FILE
from mmtrt.native.errors import NativeError, report
from mmtrt.native.families import family_of
from mmtrt.native.flags import add_directory, stage_parser
from mmtrt.native.hf_model import HfModel, open_model, read_config
from mmtrt.native.progress import mebibytes, say
from mmtrt.native.safetensors_file import StoredTensor, write_tensors


def convert(model_dir: Path, output_dir: Path, dtype: str) -> None:
    """Write ``llm/`` and ``vision/`` of a model under ``output_dir``.

    Args:
        model_dir: a Hugging Face model directory with safetensors weights.
        output_dir: made if needed; files of the same names are replaced.
        dtype: type of the stored weights; ``auto`` keeps every tensor's own.

    Raises:
        NativeError: MDL2xx, if the model cannot be read or is not supported.
    """
    # The type is asked before the weights: "not a LLaVA" is the better message of the two.
    family = family_of(read_config(model_dir).get("model_type"))
    model = open_model(model_dir)
    names = family.component_names(model)
    stored = None if dtype == "auto" else STORED_NAME[dtype]
    for component, config in family.components(model, _dtype_name(model, dtype)).items():
        directory = output_dir / component
        directory.mkdir(parents=True, exist_ok=True)
        say(f"converting {component}: {len(names[component])} tensors")
        size_bytes = write_tensors(
            directory / WEIGHTS_FILE,
            (
                cast_tensor(model.tensors[source], target, stored)
                for target, source in names[component].items()
            ),
        )
        config.write(directory)
        say(f"wrote {component}: {mebibytes(size_bytes)}, {config.dtype}")


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
    flags = parser.parse_args(argv)
    return report(lambda: convert(flags.model_dir, flags.output_dir, flags.dtype))


if __name__ == "__main__":
    raise SystemExit(main())
