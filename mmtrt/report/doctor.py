"""What this host has and lacks, for every toolchain; no network, nothing heavy, nothing changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrt import __version__
from mmtrt.artifacts.store import Store
from mmtrt.backends import native, trtllm
from mmtrt.backends.aot_engines import AOT_ENGINE, against_host
from mmtrt.backends.plan_engines import PLAN_ENGINES
from mmtrt.host import HostInfo
from mmtrt.report.colors import paint
from mmtrt.report.store_view import free_bytes
from mmtrt.report.units import size_text

CORE_TOOLS = (
    *("hydra-core", "omegaconf", "PyYAML", "rich"),
    *("huggingface-hub", "blake3", "jinja2"),
)
NATIVE_TOOLS = (
    *native.EXPORT_TOOLS,
    *("tokenizers", "safetensors", "numpy", "pillow"),
)
"""What the extra ``native`` installs; a test compares them with ``pyproject.toml``."""
OTHER_TOOLS = (
    "tensorrt-llm",
    "tensorrt",
    "tensorrt-rtx-cu13",
    "ray",
    "submitit",
    "datasets",
    "pyarrow",
)
NO_GPU = "a GPU that the driver shows"


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing that is missing."""

    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a toolchain or an engine format can be used here."""

    name: str
    version: str | None
    lacks: tuple[Lack, ...] = ()
    notes: tuple[str, ...] = ()
    """What is missing for a part of it only."""

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return {
            "name": self.name,
            "ready": not self.lacks,
            "version": self.version,
            "missing": [{"what": lack.what, "fix": lack.fix} for lack in self.lacks],
            "notes": list(self.notes),
        }


def examine(host: HostInfo, store: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what ``mmtrt doctor --json`` prints.

    Args:
        host: the machine, as probed.
        store: directory of the store; need not exist.
        environ: the variables; of a token only whether it is there is looked at.
    """
    return {
        "schema": 1,
        "mmtrt": __version__,
        "host": host.to_json(),
        "store": _store(store),
        "hub": _hub(environ),
        "backends": [row.to_json() for row in (_native(host), _trtllm(host, environ))],
        "engines": [row.to_json() for row in _engines(host)],
        "tools": {name: host.version(name) for name in (*CORE_TOOLS, *NATIVE_TOOLS, *OTHER_TOOLS)},
    }


def to_text(document: Mapping[str, Any], color: bool) -> str:
    """Return the examination as a terminal shows it."""
    host, store, hub = document["host"], document["store"], document["hub"]
    gpus = [
        f"{gpu['name']} (sm {gpu['sm']}, {size_text(gpu['memory_bytes'])})" for gpu in host["gpus"]
    ]
    if not store["exists"]:
        state = "not there yet; " + ("can be made" if store["writable"] else "cannot be made")
    else:
        state = f"{store['artifacts']} artifacts"
        state += f", {store['unreadable']} unreadable" if store["unreadable"] else ""
        state += "" if store["writable"] else ", read-only: hits only"
    lines = [
        f"mmtrt    {document['mmtrt']}, Python {host['python']}",
        f"host     {host['hostname']}, {host['system']}, {host['cpus']} cores, "
        f"{size_text(host['ram_bytes'])} RAM",
        f"GPUs     {', '.join(gpus) or 'none'}",
        f"store    {store['root']}: {state}, {size_text(store['free_bytes'])} free",
        f"hub      {'offline (HF_HUB_OFFLINE)' if hub['offline'] else 'may be asked'}, "
        f"token {'set' if hub['token'] else 'not set'}",
    ]
    for title, rows in (("Backends", document["backends"]), ("Engines", document["engines"])):
        lines += ["", title]
        for row in rows:
            verdict, tone = ("ready", "green") if row["ready"] else ("not ready", "yellow")
            painted = paint(f"{verdict:<9}", tone, color)
            lines.append(f"  {row['name']:<12}  {painted}  {row['version'] or ''}".rstrip())
            lines += [f"      lacks {lack['what']}: {lack['fix']}" for lack in row["missing"]]
            lines += [f"      {note}" for note in row["notes"]]
    lines += ["", "Tools"]
    width = max(map(len, document["tools"]))
    lines += [f"  {name:<{width}}  {version or '-'}" for name, version in document["tools"].items()]
    return "\n".join(lines) + "\n"


def _native(host: HostInfo) -> Readiness:
    missing = [tool for tool in NATIVE_TOOLS if host.version(tool) is None]
    lacks = [Lack(", ".join(missing), native.Native.install_hint)] if missing else []
    version = host.version("onnxruntime")
    return Readiness("native", f"onnxruntime {version}" if version else None, tuple(lacks))


def _trtllm(host: HostInfo, environ: Mapping[str, str]) -> Readiness:
    hint, version = trtllm.Trtllm.install_hint, host.version("tensorrt-llm")
    lacks, notes, path = [], [], environ.get("PATH")
    if not host.gpus:
        lacks.append(Lack(NO_GPU, "use a machine with an NVIDIA GPU; planning works without"))
    if version is None:
        lacks.append(Lack("tensorrt-llm", hint))
    elif not trtllm.is_supported(version):
        lacks.append(
            Lack(f"tensorrt-llm up to 1.2.x: {version} cannot build engines any more", hint)
        )
    elif shutil.which("trtllm-build", path=path) is None:
        lacks.append(Lack("trtllm-build on PATH", hint))
    if host.trtllm_examples is None:
        notes.append(
            "no example scripts here: they are fetched from GitHub at the version's tag, "
            "unless trtllm.examples_dir=<directory> is set"
        )
    if shutil.which("mpirun", path=path) is None:
        notes.append("no mpirun on PATH: tp or pp above 1 cannot run")
    return Readiness("trtllm", version, tuple(lacks), tuple(notes))


@dataclass(frozen=True, slots=True)
class EngineNeeds:
    """What an engine format takes of the host that builds it."""

    anyone: tuple[str, ...]
    """Distributions, one of which it needs."""
    hint: str
    """How to get it."""
    builds_on_gpu: bool = False
    runs_on_gpu: bool = False
    compiles: bool = False
    """Whether it calls a C++ compiler."""


_ENGINE_NEEDS = {
    "onnxruntime": EngineNeeds(("onnxruntime",), native.Native.install_hint),
    **{
        engine.name: EngineNeeds(
            engine.distributions,
            engine.install_hint,
            builds_on_gpu=engine.sms is None,
            runs_on_gpu=True,
        )
        for engine in PLAN_ENGINES.values()
    },
    AOT_ENGINE: EngineNeeds(("torch",), native.Native.install_hint, compiles=True),
}


def _engines(host: HostInfo) -> list[Readiness]:
    """Return the engine formats that the native backend can build."""
    return [
        _engine(host, name, needs)
        for name, needs in _ENGINE_NEEDS.items()
        if name in native.ENGINES
    ]


def _engine(host: HostInfo, name: str, needs: EngineNeeds) -> Readiness:
    version = next((found for tool in needs.anyone if (found := host.version(tool))), None)
    lacks = [] if version else [Lack(needs.anyone[0], needs.hint)]
    notes = []
    if needs.builds_on_gpu and not host.gpus:
        lacks.append(Lack(NO_GPU, "engine=onnxruntime runs on the CPU"))
    elif needs.runs_on_gpu and not host.gpus:
        notes.append(
            "builds without a GPU, for target.sm=<its>; running the engines needs that GPU"
        )
    if needs.compiles:
        if host.cxx is None:
            lacks.append(Lack("a C++ compiler", "install g++, or set CXX"))
        against = against_host(host)
        if against is None:
            notes.append("engine=auto takes it where the recipe's model fits")
        else:
            notes.append(f"engine=auto takes onnxruntime: {against}")
    return Readiness(name, version, tuple(lacks), tuple(notes))


def _store(root: Path) -> dict[str, Any]:
    there = next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())
    unreadable: list[Path] = []
    count = sum(1 for _ in Store(root).artifacts(report=lambda path, _: unreadable.append(path)))
    return {
        "root": str(root),
        "exists": root.is_dir(),
        "writable": there.is_dir() and os.access(there, os.W_OK | os.X_OK),
        "artifacts": count,
        "unreadable": len(unreadable),
        "free_bytes": free_bytes(root),
    }


def _hub(environ: Mapping[str, str]) -> dict[str, bool]:
    """Return how a download would go about it; the token itself is never read.

    Source: huggingface_hub, "Environment variables".
    """
    home = Path(environ.get("HF_HOME") or "~/.cache/huggingface")
    token_file = Path(environ.get("HF_TOKEN_PATH") or home / "token")
    try:
        has_file = token_file.expanduser().is_file()
    except (OSError, RuntimeError):
        has_file = False
    return {
        "offline": environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"},
        "token": has_file or bool(environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN")),
    }
