"""What is known of a build: its products, its steps, and what it was made from.

Read from manifests and records alone; knows neither SLSA nor CycloneDX.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mmtrt import __version__
from mmtrt.artifacts.store import Artifact, Hit, Store
from mmtrt.errors import ArtifactError
from mmtrt.redaction import of_environment
from mmtrt.report.targets import RunTarget

PRODUCTS = (
    ("assemble",),
    ("build_llm", "build_vision"),
    ("quantize",),
    ("convert",),
    ("download",),
)
"""Kinds whose output people deploy; the first group of which there is one counts."""

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Source:
    """Something that a build was made from and did not make itself."""

    what: Literal["model", "code", "file", "data"]
    name: str
    uri: str | None = None
    """A package URL or an address; ``None`` for a file of the user's."""
    commit: str | None = None
    tree: str | None = None
    """Digest of its files, as mmtrt's keys have it."""
    files: Mapping[str, str] | None = None
    """Path -> BLAKE3, where the files are kept."""


@dataclass(frozen=True, kw_only=True)
class Build:
    """One build as a whole."""

    title: str
    """Name of the run, or ``kind/key`` of the artifact."""
    products: tuple[Artifact, ...]
    steps: tuple[Artifact, ...]
    """Every artifact that took part, each after what it needs; the products among them."""
    asked: Mapping[str, Any]
    """What the user chose: recipe, variant, overrides, limits."""
    results: Mapping[str, Any]
    """Scores, where there was an evaluation."""

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.products[0].manifest.name

    @property
    def backend(self) -> str:
        """Toolchain of the products."""
        return self.products[0].manifest.backend

    @property
    def started(self) -> str:
        """UTC of the first step's start, ISO 8601."""
        return min(
            step.manifest.made.get("started") or step.manifest.created for step in self.steps
        )

    @property
    def finished(self) -> str:
        """UTC of the last step's end, ISO 8601."""
        return max(
            step.manifest.made.get("finished") or step.manifest.created for step in self.steps
        )

    @property
    def mmtrt_version(self) -> str:
        """The mmtrt that made the products; this one where an older did not note it."""
        return str(self.products[0].manifest.made.get("mmtrt") or __version__)

    @property
    def versions(self) -> dict[str, str]:
        """Distribution -> version, of all steps; the products' own win."""
        found: dict[str, str] = {}
        for step in (*self.steps, *self.products):
            toolchain: Mapping[str, Any] = step.manifest.key_document.get("toolchain") or {}
            found |= step.manifest.made.get("versions") or {}
            found |= toolchain.get("versions") or {}
        return dict(sorted(found.items()))

    def label(self, artifact: Artifact) -> str:
        """Return a name for a product that no other has: its stage, in a sweep with its key."""
        stage = artifact.manifest.stage
        is_alone = sum(each.manifest.stage == stage for each in self.products) == 1
        return stage if is_alone else f"{stage}-{artifact.key[:8]}"

    def sources(self) -> Iterator[Source]:
        """Yield what the steps were made from."""
        seen = set()
        for step in self.steps:
            for source in _sources(step):
                if (source.name, source.tree) not in seen:
                    seen.add((source.name, source.tree))
                    yield source


def build_of(target: RunTarget | Artifact, store: Path) -> Build:
    """Return what is known of a run, or of one artifact and all that it was made from.

    Raises:
        ArtifactError: ART133 if nothing of the run is left.
    """
    if isinstance(target, Artifact):
        made = target.manifest.made
        return Build(
            title=f"{target.kind}/{target.key}",
            products=(target,),
            steps=tuple(_ancestors(target, Store(store))),
            asked={name: made[name] for name in ("recipe", "variant") if made.get(name)},
            results={},
        )
    artifacts = target.artifacts.values()
    products: tuple[Artifact, ...] = ()
    for kinds in PRODUCTS:
        products = tuple(each for each in artifacts if each.kind in kinds)
        if products:
            break
    if not products:
        raise ArtifactError(
            f"nothing that run {target.title} built is left in the store",
            code="ART133",
            why="; ".join(f"{stage}: {why}" for stage, why in target.gone.items()) or None,
            fix="run the recipe again",
        )
    report = target.report
    return Build(
        title=target.title,
        products=products,
        steps=tuple(artifacts),
        asked=of_environment().tree(
            {
                "recipe": report.recipe,
                "variant": report.variant,
                "overrides": list(report.overrides),
                "limits": {name: row.get("value") for name, row in report.limits.items()},
            }
        ),
        results={"scores": [dict(row) for row in report.scores]},
    )


def _ancestors(artifact: Artifact, store: Store) -> list[Artifact]:
    """Return the artifact after everything that it was made from, as far as the store has it."""
    found: dict[tuple[str, str], Artifact] = {}

    def visit(each: Artifact) -> None:
        if (each.kind, each.key) in found:
            return
        for row in each.manifest.made.get("inputs", ()):
            if row.get("key"):
                hit = store.find(row["kind"], row["key"])
                if isinstance(hit, Hit):
                    visit(hit.artifact)
        found[each.kind, each.key] = each

    visit(artifact)
    return list(found.values())


def _sources(step: Artifact) -> Iterator[Source]:
    flags = step.manifest.flags

    def said(name: str) -> str | None:
        return next(iter(flags.get(name, ())), None)

    inputs: Iterable[Mapping[str, Any]] = step.manifest.made.get("inputs") or [
        {"symbol": symbol, "digest": digest}
        for symbol, digest in (step.manifest.key_document.get("inputs") or {}).items()
    ]
    local = [row for row in inputs if str(row["symbol"]).startswith("{local.")]
    files = {entry.path: entry.digest for entry in step.manifest.files}
    if step.kind == "download":
        repo, revision = said("repo_id"), said("revision")
        uri = None if repo is None else f"pkg:huggingface/{repo}@{revision}"
        name = str(repo or step.manifest.name)
        yield Source(
            what="model",
            name=name,
            uri=uri,
            commit=_commit(revision),
            tree=step.manifest.digest,
            files=files,
        )
        return
    if step.kind == "clone":
        url, revision = str(said("url")), str(said("revision"))
        yield Source(
            what="code",
            name=url.rpartition("/")[2].removesuffix(".git"),
            uri=f"git+{url}@{revision}" if not url.startswith("git+") else f"{url}@{revision}",
            commit=_commit(revision),
            tree=step.manifest.digest,
        )
        return
    for row in local:
        name = str(row["symbol"]).partition("/")[2]
        is_data = "dataset" in str(row["symbol"]).partition("/")[0]
        yield Source(what="data" if is_data else "file", name=name, tree=row.get("digest"))
    for field in ("calib_dataset", "eval_task", "task"):
        if (asked := said(field)) is not None:
            yield Source(what="data", name=asked)


def _commit(revision: Any) -> str | None:
    text = str(revision)
    return text if len(text) == 40 and not text.strip("0123456789abcdef") else None


def sha256(path: Path) -> str | None:
    """Return the SHA-256 of a file; ``None`` if it is gone."""
    hasher = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                hasher.update(chunk)
    except OSError:
        return None
    return hasher.hexdigest()


def product_files(build: Build) -> Iterator[tuple[Artifact, str, int, dict[str, str]]]:
    """Yield each file of the products: artifact, path, size in bytes, digests by algorithm."""
    for product in build.products:
        for entry in product.manifest.files:
            digests = {"blake3": entry.digest}
            if (found := sha256(product.path / entry.path)) is not None:
                digests["sha256"] = found
            yield product, entry.path, entry.size, digests
