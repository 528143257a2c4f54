"""What number formats cost the trained tiny LLaVA in accuracy, as packages of aot_inductor.

    python -m benchmarks.quantized_packages

Builds the engines of each format on this machine's CPU (half a minute each) and asks the questions
of ``quantization``: 200 held-out pictures, five questions each, exact match.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.quantization import BATCH, MODEL, PICTURES, count_right, drawn_pictures, run_stage

FORMATS = ("none", "int8_wo", "int4_wo", "int4_awq", "fp8")
MAX_SEQ_LEN = 96


def main() -> int:
    """Print a table; status 1 if a format loses more than 2 of 100 right answers."""
    with tempfile.TemporaryDirectory() as directory:
        return _measure(Path(directory))


def _measure(work: Path) -> int:
    run_stage("convert", "--model-dir", MODEL, "--output-dir", work / "none")
    vision = ("--checkpoint-dir", work / "none/vision", "--output-dir", work / "vision")
    run_stage("build_vision", *vision, "--max-batch-size", BATCH)
    pictures = drawn_pictures(work / "drawn")
    plain, failed = 0, False
    print(
        "| `quant=` | exact answers | of unquantized | weights of the engine |\n"
        + "| --- " * 4
        + "|"
    )
    for name in FORMATS:
        checkpoint, engine = work / name, work / f"engine-{name}"
        if name != "none":
            run_stage(
                "quantize",
                *("--checkpoint-dir", work / "none", "--output-dir", checkpoint, "--format", name),
                *("--model-dir", MODEL, "--calib-dataset", PICTURES),
            )
        run_stage(
            "build_llm",
            *("--checkpoint-dir", checkpoint / "llm", "--output-dir", engine / "llm"),
            *("--max-batch-size", BATCH, "--max-seq-len", MAX_SEQ_LEN),
            *("--max-input-len", MAX_SEQ_LEN - 16, "--engine", "aot_inductor"),
        )
        (engine / "vision").symlink_to(work / "vision")
        count, total = count_right(engine, pictures)
        plain = plain or count
        failed |= count < 0.98 * plain
        size = (engine / "llm/weights.safetensors").stat().st_size / 1e6
        share = f"{count / plain:.4f}"
        print(f"| `{name}` | {count} of {total} | {share} | {size:.2f} MB |", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
