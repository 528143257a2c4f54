"""A build as a CycloneDX bill of materials: models, data, tools (an ML-BOM).

Source: CycloneDX 1.6, JSON schema; the model card is written by hand because the library has none
yet. The strict validator of the library sees the result.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mmtrt.provenance.build import Build, Source, product_files
from mmtrt.provenance.packages import importing
from mmtrt.redaction import FORMS

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

SPEC_VERSION = "1.6"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:mmtrt:bom")


def to_cyclonedx(build: Build) -> str:
    """Return the bill of materials as JSON; the same build gives the same text.

    Raises:
        HostError: ENV140 if the package for it is missing.
    """
    with importing("cyclonedx-python-lib"):
        from cyclonedx.model.bom import Bom, BomMetaData
        from cyclonedx.model.component import Component, ComponentType
        from cyclonedx.model.dependency import Dependency
        from cyclonedx.model.tool import ToolRepository
        from cyclonedx.output import make_outputter
        from cyclonedx.schema import OutputFormat, SchemaVersion

    version = build.products[0].manifest.digest[:16]
    root = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=build.name,
        version=version,
        bom_ref="model",
        description=f"engines of {build.name}, built by mmtrt with backend {build.backend}",
        properties=_properties({"fake": build.products[0].manifest.fake, **build.asked}),
    )
    tool = Component(
        type=ComponentType.APPLICATION, name="mmtrt", version=build.mmtrt_version, bom_ref="mmtrt"
    )
    products = _products(build)
    sources = [_source(index, each) for index, each in enumerate(build.sources())]
    packages = [_package(*each) for each in build.versions.items() if each[0] != "mmtrt"]
    bom = Bom(
        serial_number=uuid.uuid5(_NAMESPACE, f"{build.title}:{version}"),
        metadata=BomMetaData(
            component=root,
            tools=ToolRepository(components=[tool]),
            timestamp=datetime.fromisoformat(build.finished),
        ),
        components=[*products, *sources, *packages],
        dependencies=[
            Dependency(root.bom_ref, [Dependency(each.bom_ref) for each in products]),
            *(
                Dependency(each.bom_ref, [Dependency(one.bom_ref) for one in (*sources, *packages)])
                for each in products
            ),
        ],
    )
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string()
    document = FORMS.tree(json.loads(text))
    _add_cards(document, build)
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _products(build: Build) -> list[Component]:
    """Return a model for each product, with its files."""
    from cyclonedx.model.component import Component, ComponentType

    files: dict[str, list[Component]] = {}
    for artifact, path, size, digests in product_files(build):
        files.setdefault(artifact.key, []).append(
            Component(
                type=ComponentType.FILE,
                name=path,
                bom_ref=f"{build.label(artifact)}/{path}",
                hashes=_hashes(digests),
                properties=_properties({"size_bytes": size}),
            )
        )
    return [
        Component(
            type=ComponentType.MACHINE_LEARNING_MODEL,
            name=f"{artifact.manifest.name} ({build.label(artifact)})",
            version=artifact.manifest.digest[:16],
            bom_ref=build.label(artifact),
            components=files.get(artifact.key, []),
            properties=_properties(
                {
                    "key": artifact.key,
                    "kind": artifact.kind,
                    "backend": artifact.manifest.backend,
                    "tree_digest": artifact.manifest.digest,
                    "gpu": artifact.manifest.key_document.get("gpu"),
                    "seconds": artifact.manifest.seconds,
                    "peak_rss_bytes": artifact.manifest.peak_rss_bytes,
                }
            ),
        )
        for artifact in build.products
    ]


def _source(index: int, source: Source) -> Component:
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    types = {
        "model": ComponentType.MACHINE_LEARNING_MODEL,
        "data": ComponentType.DATA,
        "file": ComponentType.FILE,
        "code": ComponentType.LIBRARY,
    }
    is_purl = source.uri is not None and source.uri.startswith("pkg:")
    files = [
        Component(
            type=ComponentType.FILE,
            name=path,
            bom_ref=f"source-{index}/{path}",
            hashes=_hashes({"blake3": digest}),
        )
        for path, digest in (source.files or {}).items()
    ]
    return Component(
        type=types[source.what],
        name=source.name,
        version=source.commit,
        bom_ref=f"source-{index}",
        purl=PackageURL.from_string(source.uri) if source.uri and is_purl else None,
        components=files,
        properties=_properties(
            {"tree_digest": source.tree, "uri": None if is_purl else source.uri}
        ),
    )


def _package(name: str, version: str) -> Component:
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=version,
        bom_ref=f"pypi-{name}",
        purl=PackageURL("pypi", name=name, version=version),
    )


def _hashes(digests: Mapping[str, str]) -> list[Any]:
    from cyclonedx.model import HashAlgorithm, HashType

    names = {"blake3": HashAlgorithm.BLAKE3, "sha256": HashAlgorithm.SHA_256}
    return [HashType(alg=names[name], content=digest) for name, digest in digests.items()]


def _properties(facts: Mapping[str, Any]) -> list[Any]:
    """Return facts as ``mmtrt:<name>``; structures as JSON, what is not known left out."""
    from cyclonedx.model import Property

    return [
        Property(
            name=f"mmtrt:{name}",
            value=value if isinstance(value, str) else json.dumps(value, ensure_ascii=False),
        )
        for name, value in facts.items()
        if value is not None
    ]


def _add_cards(document: dict[str, Any], build: Build) -> None:
    """Put a model card at each engine: architecture, data sets, accuracy."""
    by_ref = {component["bom-ref"]: component for component in document.get("components", [])}
    data = [ref for ref, each in by_ref.items() if each["type"] == "data"]
    for artifact in build.products:
        parameters: dict[str, Any] = {"task": "image-text-to-text"}
        if family := build.asked.get("recipe"):
            parameters["modelArchitecture"] = family
        if data:
            parameters["datasets"] = [{"ref": ref} for ref in data]
        card: dict[str, Any] = {"modelParameters": parameters}
        metrics = [
            {"type": f"accuracy on {row.get('task')}", "value": str(row["accuracy"])}
            for row in build.results.get("scores") or ()
            if row.get("accuracy") is not None
        ]
        if metrics:
            card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
        by_ref[build.label(artifact)]["modelCard"] = card
