"""What a manifest tells of a build beside its key: inputs, environment, versions, times, GPUs.

Nothing here enters a key: another machine, another minute and other thread counts make the same
artifact.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtrt import __version__
from mmtrt.backends.base import In, Local, Script
from mmtrt.executor.environment import PASSED_PREFIXES, environment
from mmtrt.redaction import of_environment

if TYPE_CHECKING:
    from mmtrt.executor.work import Work
    from mmtrt.host import HostInfo

TOOLS = (
    *("torch", "transformers", "tokenizers", "safetensors", "onnx", "onnxscript", "onnxruntime"),
    *("numpy", "pillow", "huggingface-hub", "tensorrt", "tensorrt-llm", "tensorrt-rtx-cu13"),
    *("nvidia-modelopt", "mpi4py", "triton", "torchvision", "accelerate", "datasets"),
    *("blake3", "hydra-core", "omegaconf", "pip"),
)
"""Distributions whose version people ask for when an output looks odd (*chosen*)."""

RECORDED = ("LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH", "LANG", "TZ", "VIRTUAL_ENV")
"""Of the variables that are handed on, those whose value is kept; a home directory is not."""

_DRIVER = Path("/proc/driver/nvidia/version")


def facts_of(work: Work) -> dict[str, Any]:
    """Return the field ``made`` of the manifest of a stage whose command has ended."""
    choice = work.plan.choice_of(work.node)
    env = environment(work.command, work.lease)
    recipe = work.plan.recipe_of(work.node)
    seconds = time.monotonic() - work.started
    finished = datetime.now(timezone.utc)
    names = dict.fromkeys((*TOOLS, *work.command.tools))
    versions = {name: choice.host.version(name) for name in names}
    document: dict[str, Any] = {
        "mmtrt": __version__,
        "recipe": recipe.name,
        "variant": recipe.variant_name,
        "toolchain": choice.backend.toolchain(),
        "versions": {name: version for name, version in versions.items() if version},
        "inputs": [*_inputs(work)],
        "examples": next(
            (w.root for w in work.command.argv if isinstance(w, Script) and w.root), None
        ),
        "environment": _environment(work, env),
        "passed": sorted(name for name in work.command.pass_env if name in env),
        "resources": work.command.resources.to_json(),
        "gpus": _gpus(work, choice.host),
        "driver": _driver() if choice.host.gpus else None,
        "started": (finished - timedelta(seconds=seconds)).isoformat(timespec="milliseconds"),
        "finished": finished.isoformat(timespec="milliseconds"),
        "attempt": work.attempt,
    }
    redacted: dict[str, Any] = of_environment(work.argv).tree(document)
    return redacted


def _inputs(work: Work) -> list[dict[str, Any]]:
    """Return everything that was read, with the digest that the key has of it, if it has one."""
    digests = work.document["inputs"]
    places: list[In | Local] = work.command.places()
    read = {place.port for place in places if isinstance(place, In)}
    places += [In(port) for port in work.command.ports() if port not in read]
    rows = []
    for place in places:
        row: dict[str, Any] = {"symbol": place.symbol(), "digest": digests.get(place.symbol())}
        if isinstance(place, Local):
            row["local"] = str(Path(place.path).absolute())
        else:
            made = work.inputs[work.node.feeds[place.port]]
            row |= {"stage": made.manifest.stage, "kind": made.kind, "key": made.key}
        rows.append(row)
    return rows


def _environment(work: Work, env: Mapping[str, str]) -> dict[str, str]:
    """Return variables with their values: an allow-list, and never one that is only handed on."""
    return {
        name: value
        for name, value in sorted(env.items())
        if name not in work.command.pass_env
        and (
            name in RECORDED
            or name.startswith(PASSED_PREFIXES)
            or name in ("PYTHONUNBUFFERED", "PYTHONSAFEPATH", "HF_HUB_OFFLINE")
        )
        and not name.startswith("XDG_")
    }


def _gpus(work: Work, host: HostInfo) -> list[dict[str, Any]]:
    """Return the GPUs that the stage had to itself."""
    return [
        {"name": gpu.name, "uuid": gpu.uuid, "sm": gpu.sm, "memory_bytes": gpu.memory_bytes}
        for gpu in host.gpus
        if gpu.uuid in work.lease.gpus
    ]


def _driver() -> str | None:
    """Return the version of NVIDIA's kernel module, such as ``570.86.15``."""
    try:
        text = _DRIVER.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"Kernel Module\S*(?:\s+for \S+)?\s+(\d[\d.]+)", text)
    return found[1] if found else None
