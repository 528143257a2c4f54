"""A build as an in-toto statement with SLSA provenance.

Source: in-toto Attestation Framework, Statement v1; SLSA v1.0, "Provenance", schema v1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mmtrt.artifacts.store import Artifact
from mmtrt.provenance.build import Build, Source, product_files
from mmtrt.provenance.packages import importing
from mmtrt.redaction import FORMS

PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:mmtrt:build:1"
"""Meaning of the parameters; docs/reproducible_builds.md describes them."""
BUILDER_ID = "urn:mmtrt:builder:local"
"""Whoever ran mmtrt; nothing vouches for the machine, which SLSA calls build level 1."""
TREE = "mmtrtTree"
"""Digest of several files at once, as mmtrt's keys have it."""


def to_slsa(build: Build) -> str:
    """Return the statement as JSON.

    Raises:
        HostError: ENV140 if the package for it is missing.
    """
    with importing("in-toto-attestation"):
        from google.protobuf.json_format import MessageToDict, MessageToJson, ParseDict
        from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
        from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
        from in_toto_attestation.v1.statement import Statement

    # Through the message of the specification: a field that it does not have is an error.
    predicate = MessageToDict(ParseDict(_predicate(build), Provenance()))
    subjects = [
        ResourceDescriptor(name=f"{build.label(artifact)}/{path}", digest=digests).pb
        for artifact, path, _, digests in product_files(build)
    ]
    statement = Statement(subjects, PREDICATE_TYPE, predicate)
    statement.validate()
    # The order of names is protobuf's own, and differs between its versions.
    document = _whole(json.loads(MessageToJson(statement.pb)))
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _whole(value: Any) -> Any:
    """Return data with whole numbers as such: a message has only floating-point numbers."""
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _predicate(build: Build) -> dict[str, Any]:
    host = build.products[0].manifest.host
    made = build.products[0].manifest.made
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": dict(build.asked),
            "internalParameters": {
                "backend": build.backend,
                "toolchain": made.get("toolchain") or {},
                "host": host,
                "driver": made.get("driver"),
                "steps": [_step(each) for each in build.steps],
            },
            "resolvedDependencies": [*_dependencies(build)],
        },
        "runDetails": {
            "builder": {
                "id": BUILDER_ID,
                "version": {"mmtrt": build.mmtrt_version, "python": str(host.get("python", ""))},
            },
            "metadata": {
                "invocationId": build.title,
                "startedOn": build.started,
                "finishedOn": build.finished,
            },
            "byproducts": [
                {
                    "name": step.manifest.stage,
                    "uri": f"urn:mmtrt:artifact:{step.kind}:{step.key}",
                    "digest": {TREE: step.manifest.digest},
                }
                for step in build.steps
                if step not in build.products
            ],
        },
    }
    redacted: dict[str, Any] = FORMS.tree(predicate)
    return redacted


def _step(step: Artifact) -> dict[str, Any]:
    manifest, made = step.manifest, step.manifest.made
    return {
        "stage": manifest.stage,
        "kind": manifest.kind,
        "key": manifest.key,
        "command": manifest.command,
        "flags": manifest.flags,
        "gpu": manifest.key_document.get("gpu"),
        "gpus": made.get("gpus") or [],
        "environment": made.get("environment") or {},
        "inputs": [
            {name: row[name] for name in ("symbol", "digest", "stage", "key") if row.get(name)}
            for row in made.get("inputs") or ()
        ],
        "seconds": manifest.seconds,
        "peakRssBytes": manifest.peak_rss_bytes,
        "startedOn": made.get("started"),
        "finishedOn": made.get("finished"),
        "fake": manifest.fake,
    }


def _dependencies(build: Build) -> Iterator[dict[str, Any]]:
    for source in build.sources():
        yield _dependency(source)
    for name, version in build.versions.items():
        yield {"name": name, "uri": f"pkg:pypi/{name}@{version}"}


def _dependency(source: Source) -> dict[str, Any]:
    digest = {}
    if source.commit is not None:
        digest["gitCommit"] = source.commit
    if source.tree is not None:
        digest[TREE] = source.tree
    row: dict[str, Any] = {"name": source.name, "annotations": {"kind": source.what}}
    if digest:
        row["digest"] = digest
    if source.uri is not None:
        row["uri"] = source.uri
    if source.files:
        row["annotations"]["blake3"] = dict(source.files)
    return row
