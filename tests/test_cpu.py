from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmtrt.cpu import cpu_class, lacking, this_cpu

V2 = "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3 sse2 smep"
V3 = f"{V2} abm avx avx2 bmi1 bmi2 f16c fma movbe"
V4 = f"{V3} avx512f avx512bw avx512cd avx512dq avx512vl"


@pytest.mark.parametrize(
    ("flags", "machine", "expected"),
    [
        ("flags\t\t: sse2", "x86_64", "x86_64-v1"),
        (f"flags : {V2}", "x86_64", "x86_64-v2"),
        (f"flags : {V3} avx_vnni", "x86_64", "x86_64-v3 avx_vnni"),
        (f"flags : {V4} gfni avx512_bf16", "x86_64", "x86_64-v4 avx512_bf16 gfni"),
        # Some of a level's features: not the level, but told.
        (f"flags : {V3} avx512f", "x86_64", "x86_64-v3 avx512f"),
        ("Features : fp asimd sve i8mm", "aarch64", "aarch64 i8mm sve"),
        ("", "x86_64", "x86_64-v1"),
        ("", "riscv64", "riscv64"),
    ],
)
def test_the_class_is_a_level_and_what_is_beyond_it(
    flags: str, machine: str, expected: str
) -> None:
    assert cpu_class(f"model name : a processor\n{flags}\n", machine) == expected


@pytest.mark.parametrize(
    ("built", "here", "expected"),
    [
        ("x86_64-v3", "x86_64-v4 gfni", ()),
        ("x86_64-v4", "x86_64-v3", ("x86_64-v4",)),
        ("x86_64-v3 gfni avx_vnni", "x86_64-v4 gfni", ("avx_vnni",)),
        ("aarch64", "x86_64-v4", ("aarch64",)),
        ("aarch64 sve", "aarch64", ("sve",)),
    ],
)
def test_code_runs_where_nothing_is_lacking(
    built: str, here: str, expected: tuple[str, ...]
) -> None:
    assert lacking(built, here) == expected


def test_this_machine_lacks_nothing_of_itself() -> None:
    if not Path("/proc/cpuinfo").is_file():
        pytest.skip("no /proc/cpuinfo")
    assert this_cpu().startswith(os.uname().machine)
    assert lacking(this_cpu(), this_cpu()) == ()
