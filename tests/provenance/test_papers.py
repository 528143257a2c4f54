"""SLSA provenance and CycloneDX bills of materials, held to the validators of their own makers."""

from __future__ import annotations

import hashlib
import json
import sys

import pytest

from mmtrt.artifacts.store import Store
from mmtrt.cli import dispatch
from mmtrt.provenance.build import build_of
from mmtrt.report.runs import run_dirs
from mmtrt.report.targets import read_run

pytest.importorskip("in_toto_attestation")
pytest.importorskip("cyclonedx")


@pytest.fixture
def build(fake_home):
    (run,) = run_dirs(fake_home / "outputs/runs")
    return build_of(read_run(run), fake_home / "outputs/store")


def printed(capsys, *words: str) -> dict:
    assert dispatch(list(words)) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def at_home(fake_home, monkeypatch):
    monkeypatch.chdir(fake_home)
    return fake_home


def test_statement_is_valid_in_toto_with_slsa(at_home, capsys):
    from google.protobuf.json_format import Parse
    from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
    from in_toto_attestation.v1.statement import Statement
    from in_toto_attestation.v1.statement_pb2 import Statement as Message

    document = printed(capsys, "provenance", "--format", "slsa")
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert document["predicateType"] == "https://slsa.dev/provenance/v1"
    statement = Statement.copy_from_pb(Parse(json.dumps(document), Message()))
    statement.validate()
    # Unknown fields are an error here.
    predicate = Parse(json.dumps(document["predicate"]), Provenance())
    assert predicate.build_definition.build_type == "urn:mmtrt:build:1"
    assert predicate.run_details.metadata.started_on.ToSeconds() > 1_700_000_000
    assert (
        predicate.run_details.metadata.finished_on.ToNanoseconds()
        > predicate.run_details.metadata.started_on.ToNanoseconds()
    )


def test_subjects_are_the_engines_files(at_home, capsys):
    document = printed(capsys, "provenance")
    (artifact,) = Store(at_home / "outputs/store").artifacts("assemble")
    expected = {
        f"assemble/{entry.path}": hashlib.sha256(
            (artifact.path / entry.path).read_bytes()
        ).hexdigest()
        for entry in artifact.manifest.files
    }
    assert {row["name"]: row["digest"]["sha256"] for row in document["subject"]} == expected
    assert any("rank0.engine" in name for name in expected)


def test_dependencies_name_model_commit_and_tools(at_home, capsys):
    definition = printed(capsys, "provenance")["predicate"]["buildDefinition"]
    rows = {row["name"]: row for row in definition["resolvedDependencies"]}
    model = rows["llava-hf/llava-v1.6-mistral-7b-hf"]
    commit = model["digest"]["gitCommit"]
    assert model["uri"] == f"pkg:huggingface/llava-hf/llava-v1.6-mistral-7b-hf@{commit}"
    assert rows["tensorrt-llm"]["uri"] == "pkg:pypi/tensorrt-llm@1.2.1"
    assert definition["externalParameters"]["overrides"] == ["recipe=llava_next", "backend=fake"]
    steps = {row["stage"]: row for row in definition["internalParameters"]["steps"]}
    assert "--max_multimodal_len" in steps["build_llm"]["command"]["argv"]
    (row,) = [row for row in steps["build_llm"]["inputs"] if row["symbol"] == "{in.checkpoint}"]
    assert row["key"] == steps["convert"]["key"]
    assert steps["build_llm"]["peakRssBytes"] > 1 << 20


def test_bill_of_materials_is_strictly_valid(at_home, capsys):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    pytest.importorskip("jsonschema")
    assert dispatch(["provenance", "--format", "cyclonedx"]) == 0
    text = capsys.readouterr().out
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    broken = text.replace('"machine-learning-model"', '"engine"')
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(broken) is not None


def test_bill_lists_models_with_digests_and_tools(at_home, capsys):
    document = printed(capsys, "provenance", "--format", "cyclonedx")
    by_ref = {each["bom-ref"]: each for each in document["components"]}
    engines = by_ref["assemble"]
    assert engines["type"] == "machine-learning-model"
    assert engines["modelCard"]["modelParameters"]["modelArchitecture"] == "llava_next"
    hashes = {row["alg"] for file in engines["components"] for row in file["hashes"]}
    assert hashes == {"BLAKE3", "SHA-256"}
    source = next(each for each in by_ref.values() if each.get("purl", "").startswith("pkg:hugg"))
    assert source["type"] == "machine-learning-model" and source["version"] in source["purl"]
    assert document["metadata"]["tools"]["components"][0]["name"] == "mmtrt"


def test_data_sets_and_scores_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert dispatch(["recipe=llava", "backend=fake", "eval.task=lmms-lab/ai2d", "-q"]) == 0
    capsys.readouterr()
    document = printed(capsys, "provenance", "--format", "cyclonedx")
    (data,) = [each for each in document["components"] if each["type"] == "data"]
    assert data["name"] == "lmms-lab/ai2d"
    card = next(e for e in document["components"] if e["bom-ref"] == "assemble")["modelCard"]
    assert card["modelParameters"]["datasets"] == [{"ref": data["bom-ref"]}]
    (metric,) = card["quantitativeAnalysis"]["performanceMetrics"]
    assert float(metric["value"]) > 0


@pytest.mark.parametrize("form", ["slsa", "cyclonedx"])
def test_the_same_build_gives_the_same_text(at_home, capsys, form):
    texts = []
    for _ in range(2):
        assert dispatch(["provenance", "--format", form]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]


def test_one_artifact_brings_what_it_was_made_from(at_home, capsys):
    by_stage = printed(capsys, "provenance", "llava_next", "build_llm")
    steps = by_stage["predicate"]["buildDefinition"]["internalParameters"]["steps"]
    assert [step["stage"] for step in steps] == ["download", "convert", "build_llm"]
    (artifact,) = Store(at_home / "outputs/store").artifacts("build_llm")
    for name in (f"build_llm/{artifact.key[:8]}", artifact.key[:12], str(artifact.path)):
        assert printed(capsys, "provenance", name)["subject"] == by_stage["subject"]


def test_a_file_is_written(at_home, tmp_path, capsys):
    assert dispatch(["provenance", "-o", str(tmp_path / "p.json")]) == 0
    assert json.loads((tmp_path / "p.json").read_text())["subject"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("form", "module", "package"),
    [
        ("slsa", "in_toto_attestation.v1.statement", "in-toto-attestation"),
        ("cyclonedx", "cyclonedx.model.bom", "cyclonedx-python-lib"),
    ],
)
def test_a_missing_package_is_told_with_the_line_that_installs_it(
    at_home, capsys, monkeypatch, form, module, package
):
    monkeypatch.setitem(sys.modules, module, None)
    assert dispatch(["provenance", "--format", form]) == 5
    err = capsys.readouterr().err
    assert f"error[ENV140]: the Python package {package} is not installed" in err
    assert "pip install 'mmtrt[provenance]'" in err


def test_manifests_of_older_versions_are_enough(build, fake_home, tmp_path):
    """Without the field ``made`` times, inputs and versions come from what there was before."""
    from dataclasses import replace

    from mmtrt.provenance.cyclonedx import to_cyclonedx
    from mmtrt.provenance.slsa import to_slsa

    def older(artifact):
        return replace(artifact, manifest=replace(artifact.manifest, made={}))

    old = replace(
        build, products=tuple(map(older, build.products)), steps=tuple(map(older, build.steps))
    )
    document = json.loads(to_slsa(old))
    assert document["subject"] == json.loads(to_slsa(build))["subject"]
    assert document["predicate"]["runDetails"]["metadata"]["startedOn"]
    assert json.loads(to_cyclonedx(old))["components"]
