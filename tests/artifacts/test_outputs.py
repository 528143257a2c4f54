from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmtrt.artifacts import digest, outputs
from mmtrt.artifacts.digest import DigestMemo, hash_file
from mmtrt.artifacts.outputs import seal, settle
from mmtrt.artifacts.store import Store
from mmtrt.errors import ArtifactError
from tests.artifacts.filling import fill, write


@pytest.fixture
def out(tmp_path: Path) -> Path:
    directory = tmp_path / "store/.staging/convert-1/tiny"
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def final(tmp_path: Path) -> Path:
    return tmp_path / "store/convert/1234/tiny"


def refused(out: Path, final: Path) -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        seal(out, final, DigestMemo(None))
    return caught.value


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_records_and_protects_every_file(out: Path, final: Path) -> None:
    write(out, {"sub/x": b"1", "run.sh": b"#!"})
    (out / "run.sh").chmod(0o700)
    (out / "sub/x").chmod(0o000)
    output = seal(out, final, DigestMemo(None))
    assert [(e.path, e.size, e.executable) for e in output.entries] == [
        ("run.sh", 2, True),
        ("sub/x", 1, False),
    ]
    assert [e.digest for e in output.entries] == [hash_file(out / p) for p in ("run.sh", "sub/x")]
    assert [e.mtime_ns for e in output.entries] == [
        (out / p).stat().st_mtime_ns for p in ("run.sh", "sub/x")
    ]
    assert (mode(out / "run.sh"), mode(out / "sub/x")) == (0o555, 0o444)
    everything = [out, out / "run.sh", out / "sub", out / "sub/x"]
    assert sorted(output.own) == sorted(map(str, everything))


class TestLinks:
    def test_out_of_the_store_are_recorded_by_what_they_lead_to(
        self, tmp_path: Path, out: Path, final: Path
    ) -> None:
        model = tmp_path / "my model"
        write(model, {"weights.bin": b"12345", "sub/x": b"1"})
        (out / "weights.bin").symlink_to(model / "weights.bin")
        (out / "all").symlink_to(model)
        output = seal(out, final, DigestMemo(None))
        assert [(entry.path, entry.size) for entry in output.entries] == [
            ("all/sub/x", 1),
            ("all/weights.bin", 5),
            ("weights.bin", 5),
        ]
        assert output.entries[2].digest == hash_file(model / "weights.bin")
        assert output.entries[2].mtime_ns == (model / "weights.bin").stat().st_mtime_ns
        assert mode(model / "weights.bin") == 0o644
        assert output.own == (str(out),)

    def test_the_directory_itself_can_be_one(self, tmp_path: Path, out: Path, final: Path) -> None:
        write(tmp_path / "model", {"x": b"1"})
        out.rmdir()
        out.symlink_to(tmp_path / "model")
        assert [e.path for e in seal(out, final, DigestMemo(None)).entries] == ["x"]
        out.unlink()
        out.symlink_to("../../../model")
        assert [e.path for e in seal(out, final, DigestMemo(None)).entries] == ["x"]
        out.unlink()
        (out.parent / "beside").mkdir()
        write(out.parent, {"beside/x": b"1"})
        out.symlink_to("beside")
        assert refused(out, final).code == "ART161"

    @pytest.mark.parametrize("target", ["x", "./x", "sub/../x", "sub/y"])
    def test_within_the_output_move_along(self, out: Path, final: Path, target: str) -> None:
        write(out, {"x": b"1", "sub/y": b"2"})
        (out / "link").symlink_to(target)
        assert [e.path for e in seal(out, final, DigestMemo(None)).entries] == [
            "link",
            "sub/y",
            "x",
        ]

    @pytest.mark.parametrize(
        "target",
        [
            "{out}/x",
            "{staging}/stdout.log",
            "../stdout.log",
            "../tiny/x",
            "../../convert-1/tiny/x",
            "../../../.staging/convert-1/tiny/x",
            "../../other/file",
        ],
    )
    def test_that_would_break_are_refused(self, out: Path, final: Path, target: str) -> None:
        write(out.parent, {"tiny/x": b"1", "stdout.log": b"", "../other/file": b""})
        (out / "link").symlink_to(target.format(out=out, staging=out.parent))
        # Relative links that come back to the output by its own name do move along.
        if target == "../tiny/x":
            assert len(seal(out, final, DigestMemo(None)).entries) == 2
            return
        error = refused(out, final)
        assert error.code == "ART161"
        assert error.at == str(out / "link")

    def test_to_other_artifacts_may_be_relative(
        self, tmp_path: Path, out: Path, final: Path
    ) -> None:
        write(tmp_path / "store", {"build/5678/tiny/engine": b"1"})
        (out / "sub").mkdir()
        (out / "sub/link").symlink_to("../../../../build/5678/tiny/engine")
        assert len(seal(out, final, DigestMemo(None)).entries) == 1

    def test_through_a_link_in_the_path_of_the_store(self, tmp_path: Path, out: Path) -> None:
        (tmp_path / "alias").symlink_to("store")
        alias = tmp_path / "alias/.staging/convert-1/tiny"
        write(out, {"x": b"1"})
        (out / "link").symlink_to(out / "x")
        assert refused(alias, tmp_path / "alias/convert/1234/tiny").code == "ART161"

    def test_to_nowhere(self, out: Path, final: Path) -> None:
        write(out, {"x": b""})
        (out / "link").symlink_to("/no where\nat all")
        error = refused(out, final)
        assert error.code == "ART160"
        assert str(error) == (
            f"error[ART160]: the symbolic link {out / 'link'} cannot be followed\n"
            f"  at: {out / 'link'}\n"
            r"  why: /no where\nat all does not exist" + "\n"
            "  fix: bring back what it leads to, or remove the link"
        )


class TestHardLinks:
    def test_with_others_are_not_protected(self, tmp_path: Path, out: Path, final: Path) -> None:
        write(tmp_path, {"mine": b"1"})
        (out / "x").hardlink_to(tmp_path / "mine")
        seal(out, final, DigestMemo(None))
        assert mode(tmp_path / "mine") == 0o644

    def test_within_the_output_are(self, out: Path, final: Path) -> None:
        write(out, {"x": b"1"})
        (out / "y").hardlink_to(out / "x")
        seal(out, final, DigestMemo(None))
        assert mode(out / "y") == 0o444

    def test_to_files_of_an_input_are_not_hashed(
        self, store: Store, out: Path, final: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One more link changes a file's change time; gigabytes are not read for that."""
        made = fill(store, files={"big": b"x" * 10, "moved": b"y" * 10})
        for name in ("big", "moved"):
            (out / name).hardlink_to(made.path / name)
        os.utime(out / "moved", (1, 1))
        hashed: list[str] = []
        real = digest.hash_file
        monkeypatch.setattr(
            digest, "hash_file", lambda path: hashed.append(Path(path).name) or real(path)
        )
        sealed = seal(out, final, DigestMemo(None), [made])
        assert [entry.digest for entry in sealed.entries] == [
            entry.digest for entry in made.manifest.files
        ]
        assert hashed == ["moved"]  # no longer as recorded

    def test_links_to_a_local_model_are_hashed_once(
        self, tmp_path: Path, out: Path, final: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outputs, "_MEMO_BYTES", 10)
        monkeypatch.setattr(digest, "YOUNG_NS", 0)
        write(tmp_path, {"model.bin": b"x" * 10})
        memo = DigestMemo(None)
        known = memo.digest(tmp_path / "model.bin")
        (out / "model.bin").symlink_to(tmp_path / "model.bin")
        monkeypatch.setattr(digest, "hash_file", lambda path: pytest.fail("hashed again"))
        assert seal(out, final, memo).entries[0].digest == known


class TestWhatIsNoOutput:
    def test_nothing(self, out: Path, final: Path) -> None:
        assert refused(out, final).message == "the stage wrote no output"
        (out / "sub/empty").mkdir(parents=True)
        assert refused(out, final).code == "ART164"

    def test_no_directory(self, out: Path, final: Path) -> None:
        out.rmdir()
        assert refused(out, final).code == "ART164"
        out.write_text("")
        assert refused(out, final).code == "ART164"

    def test_pipes(self, out: Path, final: Path) -> None:
        os.mkfifo(out / "pipe")
        assert refused(out, final).code == "ART162"

    def test_names_that_are_no_text(self, out: Path, final: Path) -> None:
        Path(os.fsdecode(os.fsencode(out) + b"/\xff")).write_text("")
        assert refused(out, final).code == "ART163"


def test_a_file_written_after_it_was_hashed(out: Path, final: Path) -> None:
    write(out, {"x": b"1"})
    output = seal(out, final, DigestMemo(None))
    settle(out, output, ())
    (out / "x").chmod(0o644)
    (out / "x").write_bytes(b"2")
    with pytest.raises(ArtifactError) as caught:
        settle(out, output, ())
    assert caught.value.code == "ART165"
