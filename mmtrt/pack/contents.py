"""What goes into a pack: engines, the files that the runtime reads, the program, the papers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrt.artifacts.store import Artifact, Hit, Store
from mmtrt.errors import ArtifactError, HostError
from mmtrt.pack.code import Item, bundled
from mmtrt.pack.readme import readme
from mmtrt.provenance.build import build_of, sha256
from mmtrt.provenance.cyclonedx import to_cyclonedx
from mmtrt.provenance.slsa import to_slsa
from mmtrt.redaction import MASK
from mmtrt.report.sweep_points import labels_of, listed, points_of
from mmtrt.report.targets import RunTarget

SCHEMA = 1
SUMS = "SHA256SUMS"
LAUNCHER = Path(__file__).with_name("launcher.py")

WEIGHTS = (
    *(".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx"),
    *(".npz", ".nemo", ".tflite", ".safetensors.index.json", ".bin.index.json"),
)
"""Endings of files that engines have taken the place of."""

ENV_PORT = "env"
LABEL = 60
"""Characters of a point's name in the name of its pack (*chosen*)."""

NO_PORT = (ENV_PORT, "examples")
"""Inputs that are not packed: an environment holds paths of its machine."""


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Everything that is written, sorted by name."""

    name: str
    """Directory that the files lie in."""
    items: tuple[Item, ...]
    notes: tuple[str, ...]
    """What was left out, and why."""


def contents(
    run: RunTarget, *, with_weights: bool = False, lock: Callable[[], str | None] | None = None
) -> Pack:
    """Return what to pack of a run that answered a request.

    Args:
        run: a recorded run.
        with_weights: also the weights of the original checkpoint.
        lock: makes the text of the lock file, or nothing.

    Raises:
        ArtifactError: ART134 if the run has no answer; ART131 if an input or a file of it is gone.
    """
    answers = [each for each in run.artifacts.values() if each.kind == "run"]
    if run.point is None and len(points := points_of(run.directory)) > 1:
        raise ArtifactError(
            f"{run.title} is a sweep of {len(points)} points, and a pack is of one",
            code="ART134",
            why=f"its points are\n{listed(labels_of(points))}",
            fix=f"mmtrt pack {run.title} --point {points[0]['id']}",
        )
    asked = next(iter(answers), None)
    if asked is None:
        raise ArtifactError(
            f"run {run.title} did not get as far as an answer",
            code="ART134",
            why=run.gone.get("run") or "the request says how the engines are run",
            fix="run the recipe to its end, then pack that run",
        )
    notes: list[str] = []
    items: list[Item] = []
    ports = _ports(asked, run)
    for port, artifact in ports.items():
        items += _port_items(port, artifact, "engine" in ports and not with_weights)
    items += _input_items(asked)
    pack = _pack_json(asked, ports, run, with_weights)
    items += bundled(pack["program"])
    items.append(Item(name="pack.json", source=_json(pack)))
    items.append(Item(name="run", source=LAUNCHER.read_bytes(), executable=True))
    if lock is not None and (text := lock()) is not None:
        items.append(Item(name="mmtrt.lock", source=text.encode()))
    items += _papers(run, asked, notes)
    size = sum(item.size() for item in items)
    page = readme(pack, run, size, [item.name for item in items])
    items.append(Item(name="README.md", source=page.encode()))
    items.sort(key=lambda item: item.name)
    sums = "".join(f"{_digest(item)}  {item.name}\n" for item in items)
    items.append(Item(name=SUMS, source=sums.encode()))
    items.sort(key=lambda item: item.name)
    return Pack(name=_name(run), items=tuple(items), notes=tuple(notes))


def _name(run: RunTarget) -> str:
    report = run.report
    parts = [report.recipe, report.variant, report.backend]
    if run.label is not None:
        parts.append(re.sub(r"[^\w.-]+", "-", run.label)[:LABEL].strip("-"))
    return "-".join(part for part in parts if part)


def _ports(asked: Artifact, run: RunTarget) -> dict[str, Artifact]:
    """Return the artifacts that the request read, by port.

    Raises:
        ArtifactError: ART131 if one is gone.
    """
    store = Store(asked.directory.parent.parent)
    found: dict[str, Artifact] = {}
    rows = {row["symbol"]: row for row in asked.manifest.made.get("inputs", ())}
    symbols = {*rows, *(asked.manifest.key_document.get("inputs") or {})}
    for symbol in sorted(symbols):
        if not symbol.startswith("{in."):
            continue
        port = symbol[4:].partition("}")[0]
        row = rows.get(symbol, {})
        hit = store.find(row["kind"], row["key"]) if row.get("key") else None
        if isinstance(hit, Hit):
            found[port] = hit.artifact
            continue
        digest = (asked.manifest.key_document.get("inputs") or {}).get(symbol)
        same = (a for a in run.artifacts.values() if a.manifest.digest == digest)
        artifact = next(same, None)
        if artifact is None:
            raise ArtifactError(
                f"input {port} of run {run.title} is not in the store any more",
                code="ART131",
                fix="run the recipe again, then pack that run",
            )
        found[port] = artifact
    return found


def _port_items(port: str, artifact: Artifact, engines_only: bool) -> Iterator[Item]:
    if port in NO_PORT:
        lock = artifact.path / "requirements.lock"
        if port == ENV_PORT and lock.is_file():
            yield Item(name="requirements.lock", source=lock)
        return
    for entry in artifact.manifest.files:
        if port == "model" and engines_only and entry.path.endswith(WEIGHTS):
            continue
        path = artifact.path / entry.path
        if not path.is_file():
            raise ArtifactError(
                f"{entry.path} of {artifact.manifest.stage} is missing",
                code="ART131",
                at=str(path),
                fix="run the recipe again, then pack that run",
            )
        yield Item(name=f"{port}/{entry.path}", source=path, executable=entry.executable)


def _input_items(asked: Artifact) -> Iterator[Item]:
    """Yield the user's own files that the request showed to the model.

    Raises:
        ArtifactError: ART131 if one is gone or has changed.
    """
    store = Store(asked.directory.parent.parent)
    rows = asked.manifest.made.get("inputs", ())
    noted = {row["symbol"] for row in rows}
    for symbol in asked.manifest.key_document.get("inputs") or {}:
        if symbol.startswith("{local.") and symbol not in noted:
            raise ArtifactError(
                f"where {symbol.partition('/')[2]} lay, which the request showed, is not known",
                code="ART131",
                why="an older mmtrt made this run",
                fix="run the recipe with force=run, then pack that run",
            )
    for row in rows:
        symbol = str(row["symbol"])
        if not symbol.startswith("{local."):
            continue
        path, port = Path(row["local"]), symbol[len("{local.") :].partition("}")[0]
        if not path.exists() or store.local_digest(path) != row["digest"]:
            what = "has changed" if path.exists() else "is gone"
            raise ArtifactError(
                f"{path.name}, which the request showed, {what}",
                code="ART131",
                at=str(path),
                fix="put it back, or run the recipe again",
            )
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            below = file.relative_to(path.parent).as_posix()
            yield Item(name=f"inputs/{port}/{below}", source=file)


def _pack_json(
    asked: Artifact, ports: Mapping[str, Artifact], run: RunTarget, with_weights: bool
) -> dict[str, Any]:
    """Return what the launcher reads.

    Raises:
        ArtifactError: ART132 if the command held credentials.
    """
    argv = [str(word) for word in asked.manifest.command["argv"]]
    if any(MASK in word for word in argv):
        raise ArtifactError(
            "the request cannot be packed",
            code="ART132",
            why="its command held credentials, which are never stored",
            fix="ask with a local file instead, then pack that run",
        )
    program, flags = split_command(argv)
    toolchain: Mapping[str, Any] = asked.manifest.key_document.get("toolchain") or {}
    engines = [each for each in run.artifacts.values() if each.manifest.key_document.get("gpu")]
    return {
        "schema": SCHEMA,
        "name": asked.manifest.name,
        "recipe": run.report.recipe,
        "variant": run.report.variant,
        "backend": asked.manifest.backend,
        "fake": asked.manifest.fake,
        "toolchain": asked.manifest.made.get("toolchain") or dict(run.report.toolchain),
        "program": program,
        "flags": flags,
        "env": dict(asked.manifest.command.get("env") or {}),
        "needs": [*_needs(toolchain, ports.get("engine"))],
        "gpu": engines[0].manifest.key_document["gpu"] if engines else None,
        "weights": with_weights or "engine" not in ports,
        "engines": {port: each.manifest.digest for port, each in ports.items()},
        "built_with": dict(toolchain.get("versions") or {}),
    }


RUNTIME = ("numpy", "tokenizers", "pillow", "transformers")
"""What every native pack needs beside what runs the engines; torch only those of some families."""

_DISTRIBUTIONS = {
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    "tensorrt_rtx": ("tensorrt-rtx-cu13", "tensorrt-rtx-cu12", "tensorrt-rtx"),
}
"""Package as it is imported -> distributions that have it, where that is not its name alone."""


def _needs(toolchain: Mapping[str, Any], engine: Artifact | None) -> Iterator[dict[str, Any]]:
    """Yield distributions that must be there; ``version`` where no other will do."""
    versions: Mapping[str, str] = toolchain.get("versions") or {}
    if toolchain.get("backend") == "trtllm" and "tensorrt-llm" in versions:
        # The runtime refuses engines of another version.
        yield {"package": "tensorrt-llm", "version": versions["tensorrt-llm"]}
    elif toolchain.get("backend") == "native":
        # Whether another version will do is the runtime's to say, which reads the same file.
        found = {"onnxruntime": versions.get("onnxruntime", "absent")}
        if engine is not None and (ties := _ties(engine)):
            found = {each: ties[each] for each in sorted(ties)}
        found |= {name: versions.get(name, "absent") for name in RUNTIME}
        for package, version in found.items():
            if version != "absent":
                name, *others = _DISTRIBUTIONS.get(package, (package,))
                yield {"package": name, "or": others, "built_with": version}


def _ties(engine: Artifact) -> dict[str, str]:
    """Return package and version that native engines were built for, from their ``config.json``."""
    found = {}
    for entry in engine.manifest.files:
        if entry.path.rpartition("/")[2] == "config.json":
            try:
                document = json.loads((engine.path / entry.path).read_bytes())
                ties = document.get("tied_to") or {}
                found[str(ties["package"])] = str(ties["version"])
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue  # an older engine, or another file of that name
    return found


def split_command(argv: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Return the program with its positional words, and its flags with their values."""
    modules = [i + 1 for i, word in enumerate(argv[:-1]) if word == "-m"]
    scripts = [i for i, word in enumerate(argv) if word.startswith("{examples}/")]
    at = max([0, *modules, *scripts]) + 1
    while at < len(argv) and not argv[at].startswith("--"):
        at += 1
    flags: list[list[str]] = []
    for word in argv[at:]:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            flags.append([name, value] if equals else [name])
        else:
            flags[-1].append(word)
    return list(argv[:at]), flags


def _papers(run: RunTarget, asked: Artifact, notes: list[str]) -> Iterator[Item]:
    """Yield provenance in both formats, as far as the packages for them are installed."""
    build = build_of(run, asked.directory.parent.parent)
    writers: dict[str, Callable[[], str]] = {}

    def slsa() -> str:

        return to_slsa(build)

    def bom() -> str:

        return to_cyclonedx(build)

    writers = {"provenance/slsa.intoto.json": slsa, "provenance/bom.cdx.json": bom}
    for name, write in writers.items():
        try:
            yield Item(name=name, source=write().encode())
        except HostError as error:
            notes.append(f"{name} is left out: {error.message}; {error.fix}")


def _json(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _digest(item: Item) -> str:
    if isinstance(item.source, bytes):
        return hashlib.sha256(item.source).hexdigest()
    digest = sha256(item.source)
    if digest is None:
        raise ArtifactError(f"{item.name} cannot be read", code="ART131", at=str(item.source))
    return digest
