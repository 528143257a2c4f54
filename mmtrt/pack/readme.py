"""The README of a pack."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from mmtrt.report.targets import RunTarget
from mmtrt.report.units import size_text


def readme(pack: Mapping[str, Any], run: RunTarget, size: int, names: Sequence[str]) -> str:
    """Return the text: how to run it, what it needs, how to check it, how it was made."""
    words = dict.fromkeys([pack["backend"], *pack["toolchain"].values()])
    lines = [
        f"# {pack['name']}",
        "",
        f"Engines of `{pack['recipe']}`, variant `{pack['variant']}`, built by mmtrt with backend "
        f"{', '.join(words)}; {size_text(size)}.",
    ]
    if pack["fake"]:
        lines += ["", "**The engines are fake**: they were made for trying things out."]
    lines += ["", "## Run", ""]
    lines += _needs(pack)
    lines += [
        "    ./run                                 # the request that was made before packing",
        f"    ./run {_example(pack)}",
        "    ./run --help",
        "",
        "Flags are those of the runtime. Results go to `--output-dir`. Where scripts may not be",
        "executed: `python3 run`.",
        "",
        "## Check",
        "",
        "`run` compares every file with `SHA256SUMS` before anything else; so does",
        "`sha256sum -c SHA256SUMS`. `--no-check` leaves that out.",
    ]
    if pack["gpu"]:
        facts = ", ".join(f"{name} {value}" for name, value in pack["gpu"].items())
        lines += ["", f"The engines run on GPUs of the class they were built for only: {facts}."]
    lines += ["", "## What is here", "", *_list(names)]
    asked = (each for each in run.report.overrides if not each.startswith(_OF_THE_MACHINE))
    overrides = shlex.join(asked)
    lines += ["", "## Build it again", "", f"    mmtrt {overrides}", ""]
    if "mmtrt.lock" in names:
        lines += ["`mmtrt.lock` holds the pins of this build.", ""]
    return "\n".join(lines)


def _needs(pack: Mapping[str, Any]) -> list[str]:
    if pack["backend"] == "trtllm":
        need = " ".join(pack["toolchain"].values())
        return [
            f"It needs NVIDIA's container of {need}, or that package and its example scripts at",
            "the same tag (`--examples-dir`). Neither mmtrt nor Hydra is needed.",
            "",
            *_WITHOUT_WEIGHTS[bool(pack["weights"]) :],
        ]
    if not pack["needs"]:
        return ["Python is all that it needs.", ""]
    wanted = " ".join(f"{need['package']}=={need['built_with']}" for need in pack["needs"])
    more = [
        f"{name}=={pack['built_with'][name]}"
        for name in ("transformers", "torch")
        if pack["built_with"].get(name, "absent") != "absent"
    ]
    lines = [f"    pip install {wanted}", ""]
    if more:
        lines += [
            f"Families that prepare pictures with transformers' code also need {' '.join(more)}.",
            "",
        ]
    return ["mmtrt need not be installed: its runtime is in `lib/`.", "", *lines]


def _example(pack: Mapping[str, Any]) -> str:
    flags = [group[0].partition("=")[0] for group in pack["flags"]]
    image = next((flag for flag in flags if "image" in flag), None)
    text = next((flag for flag in flags if flag.startswith("--input")), None)
    shown = [f"{image} picture.png"] if image else []
    shown += [f"{text} 'What is it?'"] if text else []
    return " ".join(shown) or "--help"


_OF_THE_MACHINE = ("paths.", "force=", "until=", "only=", "executor")
"""Overrides that are about one run, not about what is built."""

_WITHOUT_WEIGHTS = (
    "The weights of the original checkpoint are not here. If the runner of this family asks for\n"
    "them, pack the run again with `--with-weights`.\n",
)

_PLACES = {
    "engine": "the engines",
    "model": "tokenizer, processor and configuration of the model",
    "inputs": "the files that the recorded request shows to the model",
    "lib": "mmtrt's runtime",
    "provenance": "what made it: SLSA provenance (in-toto), bill of materials (CycloneDX)",
    "mmtrt.lock": "pins",
    "pack.json": "what `run` reads",
    "run": "the program",
    "requirements.lock": "packages of the environment that the tools ran in",
}


def _list(names: Sequence[str]) -> list[str]:
    tops = dict.fromkeys(name.partition("/")[0] for name in sorted(names))
    return [f"- `{top}`: {_PLACES[top]}" for top in tops if top in _PLACES]
