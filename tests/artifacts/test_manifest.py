from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmtrt.artifacts.manifest import (
    FileEntry,
    Manifest,
    first_difference,
    presentable,
    tree_digest,
)
from mmtrt.errors import ArtifactCorrupt, ArtifactError

A, B, C = "a" * 64, "b" * 64, "c" * 64
ENTRIES = (
    FileEntry("config.json", 2, 10, A),
    FileEntry("llm/rank0.engine", 300, 20, B),
    FileEntry("llm.txt", 1, 30, C, True),
)
MANIFEST = Manifest(
    kind="convert",
    key="0" * 64,
    name="naïve 模型",
    stage="convert",
    key_document={"schema": 1, "params": {"tp": 2}},
    digest=tree_digest(ENTRIES),
    files=ENTRIES,
    command={"argv": ["python", "x y"], "cwd": None, "env": {"A": "1"}},
    host={"hostname": "box"},
    created="2026-01-02T03:04:05+00:00",
    seconds=2.5,
    peak_rss_bytes=None,
    backend="native",
    fake=False,
)


def document(**changes: Any) -> str:
    return json.dumps(json.loads(MANIFEST.to_json()) | changes)


class TestTreeDigest:
    def test_is_pinned(self) -> None:
        # A change here changes the keys of everything downstream, so it rebuilds every artifact.
        assert tree_digest(ENTRIES) == (
            "175696a02c8ec1b5b12b1d20567a7dde5d19b04e9d08b02f8d234cb15f6da6d6"
        )

    def test_only_names_sizes_and_contents_count(self) -> None:
        others = [replace(e, mtime_ns=e.mtime_ns + 1, executable=True) for e in ENTRIES]
        assert tree_digest(reversed(others)) == tree_digest(ENTRIES)

    @pytest.mark.parametrize("change", [{"path": "x"}, {"size": 9}, {"digest": C}])
    def test_each_of_them_counts(self, change: dict[str, Any]) -> None:
        assert tree_digest([replace(ENTRIES[0], **change)]) != tree_digest(ENTRIES[:1])

    def test_a_directory_has_the_same_digest_wherever_it_lies(self) -> None:
        assert tree_digest(ENTRIES, "llm") == tree_digest([FileEntry("rank0.engine", 300, 0, B)])

    @pytest.mark.parametrize("under", ["llm", "llm/", "./llm", "llm/.", "llm//"])
    def test_a_path_can_be_spelt_in_many_ways(self, under: str) -> None:
        assert tree_digest(ENTRIES, under) == tree_digest(ENTRIES, "llm")

    def test_a_directory_does_not_catch_a_file_of_the_same_beginning(self) -> None:
        assert tree_digest(ENTRIES, "llm.txt") == tree_digest([FileEntry("", 1, 0, C)])

    def test_a_file_and_a_directory_with_it_differ(self) -> None:
        assert tree_digest(ENTRIES, "llm") != tree_digest(ENTRIES, "llm/rank0.engine")

    @pytest.mark.parametrize("under", ["nope", "ll", "../llm", "/llm", "config.json/x"])
    def test_nothing_there_is_an_error(self, under: str) -> None:
        with pytest.raises(ArtifactError, match="there is no file at") as caught:
            tree_digest(ENTRIES, under)
        assert caught.value.code == "ART142"

    def test_so_is_nothing_at_all(self) -> None:
        with pytest.raises(ArtifactError, match="there are no files"):
            tree_digest([])


class TestJson:
    def test_comes_back_the_same(self) -> None:
        assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST

    def test_is_the_same_text_every_time(self) -> None:
        text = MANIFEST.to_json()
        assert Manifest.from_json(text).to_json() == text
        assert list(json.loads(text)) == sorted(json.loads(text))
        row = f'{{"digest":"{A}","executable":false,"mtime_ns":10,"path":"config.json","size":2}},'
        assert row in text.splitlines()

    def test_file_comes_back_the_same(self, tmp_path: Path) -> None:
        MANIFEST.write(tmp_path / "manifest.json")
        assert Manifest.read(tmp_path / "manifest.json") == MANIFEST
        assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]

    @given(
        st.lists(
            st.builds(
                FileEntry,
                st.text(st.characters(codec="utf-8", exclude_characters="/.\0"), min_size=1),
                st.integers(0, 2**62),
                st.integers(0, 2**62),
                st.just(A),
                st.booleans(),
            ),
            min_size=1,
            max_size=5,
        )
    )
    def test_any_file_name_comes_back(self, entries: list[FileEntry]) -> None:
        manifest = replace(MANIFEST, files=tuple(entries))
        assert Manifest.from_json(manifest.to_json()).files == manifest.files

    def test_fields_of_the_future_are_left_out(self) -> None:
        assert Manifest.from_json(document(colour="blue")) == MANIFEST

    def test_a_newer_schema_asks_for_an_upgrade(self) -> None:
        with pytest.raises(ArtifactError) as caught:
            Manifest.from_json(document(schema=2), "/store/manifest.json")
        assert str(caught.value) == (
            "error[ART140]: the manifest has schema 2, this mmtrt reads up to 1\n"
            "  at: /store/manifest.json\n"
            "  why: a newer mmtrt wrote this artifact\n"
            "  fix: upgrade mmtrt, or set paths.store to another directory"
        )
        assert not isinstance(caught.value, ArtifactCorrupt)

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "it is not JSON"),
            (MANIFEST.to_json()[:-20], "it is not JSON"),
            ("\0" * 100, "it is not JSON"),
            ("[" * 100_000, "it is not JSON"),
            ("[]", "it is not a JSON object"),
            ("{}", "it has no schema number"),
            (document(schema="1"), "it has no schema number"),
            (document(schema=0), "it has no schema number"),
            (document(key=None), "its key is a NoneType"),
            (document(fake=0), "its fake is a int"),
            (document(name="../x"), "its name is no directory name"),
            (document(name=".."), "its name is no directory name"),
            (document(files={}), "it lists no files"),
            (document(files=[]), "it lists no files"),
            (document(files=[{"path": "x"}]), "it has a row for a file that reads"),
            (document(files=["x"]), "it has a row for a file that reads"),
        ],
    )
    def test_garbled_text_is_told_apart(self, text: str, why: str) -> None:
        with pytest.raises(ArtifactCorrupt) as caught:
            Manifest.from_json(text)
        assert caught.value.code == "ART141"
        assert (caught.value.why or "").startswith(why)

    def test_bytes_that_are_no_text_are_garbled(self) -> None:
        with pytest.raises(ArtifactCorrupt):
            Manifest.from_json(b"\xff\xfe\xfd")

    @pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "..", "", "a\0b", 3])
    def test_a_file_cannot_lie_outside(self, path: object) -> None:
        row = {"path": path, "size": 1, "mtime_ns": 1, "digest": A, "executable": False}
        with pytest.raises(ArtifactCorrupt):
            Manifest.from_json(document(files=[row]))

    def test_a_missing_manifest_is_corrupt(self, tmp_path: Path) -> None:
        with pytest.raises(ArtifactCorrupt, match="missing"):
            Manifest.read(tmp_path / "manifest.json")

    def test_a_manifest_that_cannot_be_read_is_no_missing_one(self, tmp_path: Path) -> None:
        (tmp_path / "manifest.json").mkdir()
        with pytest.raises(ArtifactError) as caught:
            Manifest.read(tmp_path / "manifest.json")
        assert caught.value.code == "ART154"


class TestFirstDifference:
    def entry(self, path: Path) -> FileEntry:
        path.write_bytes(b"12345")
        return FileEntry(path.name, 5, path.stat().st_mtime_ns, A)

    def test_none_where_all_is_as_recorded(self, tmp_path: Path) -> None:
        assert first_difference(str(tmp_path), (self.entry(tmp_path / "x"),)) is None

    def test_missing(self, tmp_path: Path) -> None:
        entry = self.entry(tmp_path / "x")
        (tmp_path / "x").unlink()
        assert first_difference(str(tmp_path), (entry,)) == ("x", "x is missing")

    def test_size_and_time(self, tmp_path: Path) -> None:
        entry = self.entry(tmp_path / "x\ny")
        bigger = replace(entry, size=6)
        assert first_difference(str(tmp_path), (bigger,)) == (
            "x\ny",
            r"x\ny has 5 bytes instead of 6",
        )
        later = replace(entry, mtime_ns=entry.mtime_ns + 1)
        found = first_difference(str(tmp_path), (later,))
        assert found is not None
        assert "changed after it was stored" in found[1]


def test_presentable_keeps_what_json_has_and_turns_the_rest_into_text() -> None:
    shown = presentable({1: (Path("x"), 2, 2.5, None, True, float("inf"), "a\udc80")})
    assert shown == {"1": ["x", 2, 2.5, None, True, "inf", "a\\udc80"]}
    json.dumps(shown, allow_nan=False).encode()
