"""Build a stored artifact once more, beside it, from what its manifest says.

Neither recipe nor plan takes part: the manifest holds the command with symbols, and which
artifacts and files they stand for. The stored artifact is not touched.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtrt.artifacts.store import Artifact, Hit, Store
from mmtrt.backends.base import Command, Resources, Script
from mmtrt.backends.neutral import GIT_VARIABLES, HUB_VARIABLES, PIP_VARIABLES
from mmtrt.errors import ArtifactError, HostError, StageFailed
from mmtrt.executor.environment import environment
from mmtrt.executor.tails import last_lines
from mmtrt.executor.tokens import Lease, Tokens
from mmtrt.redaction import MASK

if TYPE_CHECKING:
    from mmtrt.host import HostInfo

_SYMBOL = re.compile(
    r"\{\{|\}\}|\{(?:in\.(?P<port>[^{}]+)|local\.[^{}]+|out|python|examples|side)\}(?:/[^=]*)?"
)
_FETCHING = ("download", "clone", "env")
"""Kinds that may use the network, for manifests that do not say so."""
GRACE_S = 5.0
"""Time that a process gets to end by itself when the rebuild is interrupted (*chosen*)."""


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What came out; the directory is deleted when the rebuild's context ends."""

    path: Path
    seconds: float
    notes: tuple[str, ...]
    """Versions that differ from those of the first build."""


@contextmanager
def rebuilt(
    artifact: Artifact,
    store: Store,
    host: HostInfo,
    *,
    siblings: Iterable[Artifact] = (),
    scratch: Store | None = None,
) -> Iterator[Rebuilt]:
    """Run the command of an artifact again and give its output while the context lasts.

    Args:
        artifact: what to build again; its inputs must be in the store.
        store: where the inputs are.
        host: this machine.
        siblings: artifacts of the same run, which inputs are looked for among first.
        scratch: where the new output goes; the staging area of ``store`` by default.

    Raises:
        ArtifactError: ART131 if an input is gone or has changed; ART132 if the manifest does not
            hold the whole command.
        HostError: HST101 if there are too few GPUs; HST131 without the example scripts.
        StageFailed: RUN131 if the command fails.
    """
    import time

    from mmtrt.executor.runner import Launch, LocalRunner

    made = artifact.manifest
    symbols = _Symbols(artifact, store, host, tuple(siblings))
    _require_whole(artifact)
    area = scratch or store
    with area.open_staging(artifact.kind, artifact.key, made.name, made.command) as staging:
        argv = [symbols.word(word, staging.path) for word in made.command["argv"]]
        work_dir = staging.directory / "work"
        work_dir.mkdir()
        cwd = made.command.get("cwd")
        began = time.monotonic()
        with _leased(artifact, area, host) as lease:
            process = LocalRunner().start(
                Launch(
                    argv=argv,
                    env=environment(_command(artifact), lease),
                    cwd=Path(symbols.word(cwd, staging.path)) if cwd else work_dir,
                    stdout=staging.stdout,
                    stderr=staging.stderr,
                )
            )
            try:
                ended = process.wait()
            except BaseException:
                process.end(GRACE_S)
                raise
        if ended.exit_code != 0:
            lines = last_lines(staging.stderr, 5) or last_lines(staging.stdout, 5)
            raise StageFailed(
                f"the rebuild of {made.stage} failed: {ended.describe()}",
                code="RUN131",
                why="\n       ".join(lines) or None,
            )
        yield Rebuilt(
            path=staging.path,
            seconds=time.monotonic() - began,
            notes=tuple(_version_notes(artifact, host)),
        )


def _require_whole(artifact: Artifact) -> None:
    """Refuse a command that cannot be run as it is written down."""
    argv = artifact.manifest.command.get("argv")
    if not isinstance(argv, list) or not argv:
        raise ArtifactError(
            "the manifest holds no command", code="ART132", at=str(artifact.directory)
        )
    if any(MASK in word for word in argv):
        raise ArtifactError(
            f"stage {artifact.manifest.stage} cannot be built again from its manifest",
            code="ART132",
            why="its command held credentials, which are never stored",
            fix="run the recipe with force= instead",
        )


class _Symbols:
    """Finds what the symbols of a command stand for, and that it is what it was."""

    def __init__(
        self, artifact: Artifact, store: Store, host: HostInfo, siblings: tuple[Artifact, ...]
    ) -> None:
        self._artifact, self._store, self._host = artifact, store, host
        self._siblings = siblings
        self._rows = {
            row["symbol"]: row
            for row in artifact.manifest.made.get("inputs", ())
            if isinstance(row, dict) and "symbol" in row
        }
        self._digests: Mapping[str, str] = artifact.manifest.key_document.get("inputs", {})
        self._ports: dict[str, Artifact] = {}

    def word(self, word: str, out: Path) -> str:
        """Return one word of a command with real paths."""

        def real(found: re.Match[str]) -> str:
            text = found[0]
            if text in ("{{", "}}"):
                return text[0]
            name, _, rest = text.partition("/")
            below = f"/{rest}" if rest else ""
            if name == "{out}":
                return f"{out}{below}"
            if name == "{python}":
                return sys.executable + below
            if name == "{side}":
                return f"{self._store.side}{below}"
            if name == "{examples}":
                return self._examples() + below
            if found["port"] is not None:
                return f"{self._port(found['port']).path}{below}"
            return self._local(text)

        return _SYMBOL.sub(real, word)

    def _port(self, port: str) -> Artifact:
        if port not in self._ports:
            self._ports[port] = self._find(port)
        return self._ports[port]

    def _find(self, port: str) -> Artifact:
        """Return the artifact behind a port: the recorded one, else one with the content."""
        prefix = "{in." + port + "}"
        wanted = {s: d for s, d in self._digests.items() if s.partition("/")[0] == prefix}
        for symbol in [prefix, *wanted]:
            row = self._rows.get(symbol)
            if row and row.get("key"):
                found = self._store.find(row["kind"], row["key"])
                if isinstance(found, Hit) and _fits(found.artifact, wanted):
                    return found.artifact
        candidates: list[Callable[[], Iterable[Artifact]]] = [
            lambda: self._siblings,
            self._store.artifacts,
        ]
        for each in candidates if wanted else ():
            for artifact in each():
                if _fits(artifact, wanted):
                    found = self._store.find(artifact.kind, artifact.key)
                    if isinstance(found, Hit):
                        return found.artifact
        raise ArtifactError(
            f"input {port} of stage {self._artifact.manifest.stage} is not in the store",
            code="ART131",
            why=", ".join(f"{s} had digest {d[:12]}" for s, d in wanted.items()) or None,
            fix="run the recipe again; stages that come out the same are then found",
        )

    def _local(self, symbol: str) -> str:
        row = self._rows.get(symbol, {})
        path = Path(str(row.get("local", "")))
        name = f"local file {symbol.partition('/')[2]}"
        if not row.get("local") or not path.exists():
            raise ArtifactError(
                f"{name} of stage {self._artifact.manifest.stage} is gone",
                code="ART131",
                at=row.get("local"),
                why=None if row.get("local") else "an older mmtrt did not note where it lay",
            )
        flags = self._artifact.manifest.flags
        include, exclude = flags.get("include", ()), flags.get("exclude", ())
        if self._store.local_digest(path, include, exclude) != self._digests.get(symbol):
            raise ArtifactError(
                f"{name} has changed since stage {self._artifact.manifest.stage} was built",
                code="ART131",
                at=str(path),
            )
        return str(path)

    def _examples(self) -> str:
        if "{in.examples}" in self._rows:
            return f"{self._port('examples').path}/examples"
        noted = self._artifact.manifest.made.get("examples")
        if noted and Path(noted).is_dir():
            return str(noted)
        if self._host.trtllm_examples is None:
            raise HostError(
                "TensorRT-LLM's example scripts are not here",
                code="HST131",
                fix="run in NVIDIA's container of the same version",
            )
        return self._host.trtllm_examples


def _fits(artifact: Artifact, wanted: Mapping[str, str]) -> bool:
    """Return whether an artifact has the content that was read."""
    try:
        return all(artifact.digest(s.partition("/")[2]) == d for s, d in wanted.items())
    except ArtifactError:
        return False


def _command(artifact: Artifact) -> Command:
    """Return what decides about the variables of the process."""
    made = artifact.manifest.made
    resources: Mapping[str, Any] = made.get("resources") or {}
    network = bool(resources.get("network", artifact.kind in _FETCHING))
    has_script = any(
        str(word).startswith("{examples}") for word in artifact.manifest.command["argv"]
    )
    return Command(
        argv=(Script(None, ""),) if has_script else (),
        env=dict(artifact.manifest.command.get("env") or {}),
        pass_env=(*HUB_VARIABLES, *GIT_VARIABLES, *PIP_VARIABLES) if network else (),
        resources=Resources(gpus=int(resources.get("gpus", 0)), network=network),
    )


@contextmanager
def _leased(artifact: Artifact, area: Store, host: HostInfo) -> Iterator[Lease]:
    """Hold the GPUs that the stage asks for."""
    import time

    wanted = _command(artifact).resources
    tokens = Tokens(host, area.root / ".locks")
    if lack := tokens.lacks(wanted):
        raise HostError(f"stage {artifact.manifest.stage} cannot run here: {lack}", code="HST101")
    while (lease := tokens.take(wanted)) is None:
        time.sleep(0.2)
    try:
        yield lease
    finally:
        tokens.give_back(lease)


def _version_notes(artifact: Artifact, host: HostInfo) -> Iterator[str]:
    """Yield which tools have another version here than they had."""
    toolchain: Mapping[str, Any] = artifact.manifest.key_document.get("toolchain") or {}
    for tool, version in sorted((toolchain.get("versions") or {}).items()):
        here = host.python if tool == "python" else host.version(tool)
        if here is not None and here != version and toolchain.get("backend") != "fake":
            yield f"{tool} was {version}, here it is {here}"
