"""Whether a stage makes the same again: rebuilt beside the stored output, compared, and told."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mmtrt.artifacts.compare import (
    FileDifference,
    compare_files,
    fields_that_differ,
    first_difference_in,
)
from mmtrt.artifacts.digest import digest_tree
from mmtrt.artifacts.store import Artifact, Store
from mmtrt.backends.base import ENV_LOCK
from mmtrt.errors import MmtrtError
from mmtrt.executor.rebuild import rebuilt
from mmtrt.host import HostInfo
from mmtrt.stages import STAGE_TYPES
from mmtrt.stages.base import Reproducible

Verdict = Literal["same", "equivalent", "differs", "failed", "skipped"]
"""``same``: every byte; ``equivalent``: bytes differ, behaviour does not."""

NOT_REBUILT = {
    "run": "its times are measured; compare two answers with mmtrt diff",
    "serve": "what it does is the point, not its output",
    "eval": "a score is compared with mmtrt diff, after force=eval",
}
"""Kinds that are not built again -> why."""


@dataclass(frozen=True, kw_only=True)
class Rebuild:
    """What came of building one stage again."""

    stage: str
    kind: str
    reproducible: Reproducible
    verdict: Verdict
    detail: str
    """One line for people."""
    seconds: float = 0.0
    differences: tuple[FileDifference, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether the stage keeps what its type promises."""
        return self.verdict in ("same", "equivalent", "skipped")

    def to_json(self) -> dict[str, Any]:
        """Return the shape of ``mmtrt verify --json``."""
        return asdict(self)


def reproducible(kind: str) -> Reproducible:
    """Return what the type of a stage promises of two builds."""
    stage = STAGE_TYPES.get(kind)
    return "no" if stage is None else stage.REPRODUCIBLE


def rebuild(
    stage: str,
    artifact: Artifact,
    host: HostInfo,
    siblings: Iterable[Artifact] = (),
    scratch: Path | None = None,
) -> Rebuild:
    """Build one artifact again and compare; errors become the verdict ``failed``.

    Args:
        stage: its id, for people.
        artifact: what is stored; it stays as it is.
        host: this machine.
        siblings: the other artifacts of the run.
        scratch: directory for the new output; the store's staging area by default.
    """
    about: dict[str, Any] = {
        "stage": stage,
        "kind": artifact.kind,
        "reproducible": reproducible(artifact.kind),
    }
    if artifact.kind in NOT_REBUILT:
        return Rebuild(**about, verdict="skipped", detail=NOT_REBUILT[artifact.kind])
    store = Store(artifact.directory.parent.parent)
    area = None if scratch is None else Store(scratch)
    try:
        with rebuilt(artifact, store, host, siblings=siblings, scratch=area) as new:
            found = compare_files(artifact.manifest.files, digest_tree(new.path).values())
            verdict, detail, told = _judge(artifact, new.path, found, about["reproducible"])
    except MmtrtError as error:
        return Rebuild(**about, verdict="failed", detail=error.render())
    return Rebuild(
        **about,
        verdict=verdict,
        detail=detail,
        seconds=round(new.seconds, 3),
        differences=tuple(found),
        notes=(*new.notes, *told),
    )


def _judge(
    artifact: Artifact, new: Path, found: list[FileDifference], promised: Reproducible
) -> tuple[Verdict, str, list[str]]:
    """Return the verdict, a line for people, and what else to say; details are put into ``found``.

    The details are looked for while the new output is still there.
    """
    if not found:
        return "same", "every byte", []
    for index, each in enumerate(found):
        if each.what == "differs":
            at = first_difference_in(artifact.path / each.path, new / each.path)
            found[index] = replace(each, detail=at)
    first = found[0]
    where = f"{first.path}: {first.detail or first.what}"
    more = f", and {len(found) - 1} more files" if len(found) > 1 else ""
    if promised != "semantic":
        return "differs", where + more, []
    return _behaviour(artifact, new, found, where + more)


def _behaviour(
    artifact: Artifact, new: Path, found: list[FileDifference], where: str
) -> tuple[Verdict, str, list[str]]:
    if artifact.kind == "env":
        locks = [(each / ENV_LOCK).read_text(encoding="utf-8") for each in (artifact.path, new)]
        same = locks[0] == locks[1]
        return ("equivalent", "the same distributions", []) if same else ("differs", where, [])
    gone = [each for each in found if each.what != "differs"]
    if gone:
        return "differs", where, []
    if artifact.manifest.backend == "native" and (new / "config.json").is_file():
        return _native(artifact.path, new)
    fields = [
        f"{each.path}: {path}: {was!r} and {now!r}"
        for each in found
        if each.path.endswith(".json")
        for path, was, now in _fields(artifact.path / each.path, new / each.path)
    ]
    note = "limits and metadata were compared; the engines themselves were not run"
    if fields:
        return "differs", fields[0], [note]
    return "equivalent", "the same limits and metadata, other bytes", [note]


def _fields(old: Path, new: Path) -> Iterator[tuple[str, Any, Any]]:
    return fields_that_differ(json.loads(old.read_bytes()), json.loads(new.read_bytes()))


def _native(old: Path, new: Path) -> tuple[Verdict, str, list[str]]:
    """Have a process compare two engines; nothing here imports what runs them."""
    with tempfile.TemporaryDirectory(prefix="mmtrt-compare-") as place:
        words = ("--first", str(old), "--second", str(new), "--output-dir", place)
        done = subprocess.run(
            [sys.executable, "-P", "-m", "mmtrt.native.compare", *words]
            if sys.version_info >= (3, 11)
            else [sys.executable, "-m", "mmtrt.native.compare", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            return "differs", f"the engines cannot be compared: {done.stderr.strip()[-500:]}", []
        document: Mapping[str, Any] = json.loads(Path(place, "compare.json").read_bytes())
    if document["contract"]:
        row = document["contract"][0]
        return "differs", f"{row['field']}: {row['first']} and {row['second']}", []
    outputs = document["outputs"]
    if outputs is None:
        note = f"the engines were not run: {document['not_run']}"
        return "equivalent", "the same limits, inputs and outputs; other bytes", [note]
    worst = max(outputs, key=lambda row: float(row["difference"]))
    apart = f"output {worst['name']} differs by {worst['difference']:.2g} of its largest value"
    if document["same"]:
        return "equivalent", f"other bytes; {apart}", []
    return "differs", f"{apart}, {document['tolerance']:.2g} is allowed", []
