"""What number formats cost the trained tiny LLaVA in accuracy, as packages of aot_inductor.

    python -m benchmarks.quantized_packages

Builds the engines of each format on this machine's CPU (half a minute each) and asks the questions
of ``quantization``: 200 held-out pictures, five questions each, exact match.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.quantization import (
    BATCH,
    MODEL,
    PICTURES,
    build_engines,
    count_right,
    drawn_pictures,
)

FORMATS = ("none", "int8_wo", "int4_wo", "int4_awq", "fp8")
MAX_SEQ_LEN = 96


def main() -> int:
    """Print a table; status 1 if a format loses more than 2 of 100 right answers."""
    with tempfile.TemporaryDirectory() as directory:
        return _measure(Path(directory))


def _measure(work: Path) -> int:
    pictures = drawn_pictures(work / "drawn")
    plain, failed = 0, False
    print(
        "| `quant=` | exact answers | of unquantized | weights of the engine |\n"
        + "| --- " * 4
        + "|"
    )
    built = build_engines(
        *(MODEL, work, PICTURES),
        max_batch_size=BATCH,
        max_seq_len=MAX_SEQ_LEN,
        formats=FORMATS,
        engine_format="aot_inductor",
    )
    for each in built:
        count, total = count_right(each.engine, pictures)
        plain = plain or count
        failed |= count < 0.98 * plain
        size = (each.engine / "llm/weights.safetensors").stat().st_size / 1e6
        share = f"{count / plain:.4f}"
        print(f"| `{each.format}` | {count} of {total} | {share} | {size:.2f} MB |", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
