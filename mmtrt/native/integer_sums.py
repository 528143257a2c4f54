"""Whether this processor adds products of 8-bit integers without cutting the sums off."""

from __future__ import annotations

from pathlib import Path

from mmtrt.cpu import this_cpu
from mmtrt.native.errors import NativeError

_EXACT = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"})
_UNKNOWN = "x86_64-v1"
"""What a processor that tells nothing is taken for; it is let through."""


def check_integer_sums(directory: Path, format_: str | None, cpu: str | None = None) -> None:
    """Refuse an engine whose answers would silently be wrong on this processor.

    Args:
        directory: where the engine is.
        format_: its number format; only int8_sq multiplies with ``MatMulInteger``.
        cpu: class of the processor; this one's where ``None``.

    Raises:
        NativeError: ART214, if pairs of products are added in 16 bits.

    Source: onnxruntime.ai/docs/performance/model-optimizations/quantization.html, "When and why do
    I need to try U8U8?": AVX2 and AVX512 without VNNI use VPMADDUBSW, which saturates.
    """
    if format_ == "int8_sq" and not sums_are_exact(cpu or this_cpu()):
        raise NativeError(
            f"{directory}: an int8_sq engine needs a processor with VNNI",
            code="ART214",
            why="older ones add products in 16 bits, which large sums do not fit",
            fix="use quant=int8_wo, which has no such sums",
        )


def sums_are_exact(cpu: str) -> bool:
    """Return whether a class of processors adds the products in 32 bits; ``True`` if unknown."""
    architecture, *has = cpu.split()
    is_x86 = architecture.startswith("x86_64-") and architecture != _UNKNOWN
    return not is_x86 or not _EXACT.isdisjoint(has)
