"""The processor's class: which instructions code that was compiled for it may use.

Compilers that look at the machine (``-march=native``) use whatever they find there, so a class is
the architecture's level and the vector extensions beyond it, as ``x86_64-v4 avx512_bf16 gfni``.
Imports nothing of mmtrt: planning and stage processes must agree on it.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path

# Source: System V psABI for x86-64, "Micro-Architecture Levels", in the words of /proc/cpuinfo.
_LEVELS = (
    ("cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"),
    ("abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"),
    ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
)
_EXTENSIONS = {
    "x86_64": re.compile(r"avx512\w+|avx_\w+|avx10\w*|amx_\w+|gfni|vaes|vpclmulqdq"),
    "aarch64": re.compile(r"asimd\w+|sve\w*|sme\w*|bf16|i8mm"),
}


def cpu_class(cpuinfo: str, machine: str) -> str:
    """Return the class of a processor.

    Args:
        cpuinfo: text of ``/proc/cpuinfo``; empty where there is none.
        machine: as ``uname -m`` has it.
    """
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    features = set(found[1].split()) if found else set()
    level = 1
    in_levels: set[str] = set()
    for needed in _LEVELS:
        if machine != "x86_64" or not features.issuperset(needed):
            break
        level += 1
        in_levels.update(needed)
    name = f"{machine}-v{level}" if machine == "x86_64" else machine
    pattern = _EXTENSIONS.get(machine)
    beyond = {f for f in features - in_levels if pattern is not None and pattern.fullmatch(f)}
    return " ".join([name, *sorted(beyond)])


@lru_cache(maxsize=1)
def this_cpu() -> str:
    """Return the class of this machine's processor."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        cpuinfo = ""
    return cpu_class(cpuinfo, os.uname().machine)


def lacking(built: str, here: str) -> tuple[str, ...]:
    """Return what code for one class uses and another class does not have."""
    (base, *uses), (here_base, *has) = built.split(), here.split()
    machine, _, level = base.partition("-v")
    here_machine, _, here_level = here_base.partition("-v")
    too_low = machine != here_machine or int(level or 0) > int(here_level or 0)
    return (*((base,) if too_low else ()), *(each for each in uses if each not in has))
