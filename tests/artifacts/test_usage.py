from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmtrt.artifacts.lookup import Artifact, Hit, Miss
from mmtrt.artifacts.store import Store
from mmtrt.artifacts.usage import Removal
from mmtrt.errors import ArtifactError
from tests.artifacts.filling import age, fill, key, publish, replace_in_os, stage, write

MIB = 1 << 20


def big(store: Store, number: object, mib: int = 1, used_s: float = 0) -> Artifact:
    artifact = fill(store, number, {"weights.bin": os.urandom(mib * MIB)})
    age(artifact.directory / "manifest.json", used_s)
    return artifact


def assembled(store: Store, number: object, *parts: Artifact, mib: int = 0) -> Artifact:
    """An artifact of hard links to the files of others, and some of its own."""
    staging = stage(store, number, kind="assemble")
    for index, part in enumerate(parts):
        (staging.path / f"{index}.bin").hardlink_to(part.path / "weights.bin")
    if mib:
        write(staging.path, {"own.bin": os.urandom(mib * MIB)})
    return publish(store, staging, number)


def mib(size_bytes: int) -> int:
    """Manifests and logs take some blocks as well."""
    return size_bytes // MIB


def names(rows: list[Removal]) -> list[tuple[str, str]]:
    return [(row.action, row.key) for row in rows]


class TestDu:
    def test_of_nothing(self, store: Store) -> None:
        assert store.du() == []

    def test_tells_sizes_and_use(self, store: Store) -> None:
        one, two = big(store, 1, 1, used_s=1000), big(store, 2, 3, used_s=50)
        store.mark_used(one)
        rows = {row.key: row for row in store.du()}
        assert {k: mib(row.size_bytes) for k, row in rows.items()} == {key(1): 1, key(2): 3}
        assert all(r.size_bytes == r.added_bytes == r.frees_bytes for r in rows.values())
        assert rows[key(1)].name == "tiny" and rows[key(1)].path == one.directory
        now = time.time()
        assert now - rows[key(1)].used_s < 20 < 45 < now - rows[key(2)].used_s < 200
        assert two.directory == rows[key(2)].path

    def test_shared_files_count_once(self, store: Store) -> None:
        one, two = big(store, 1, 1), big(store, 2, 2)
        both = assembled(store, 3, one, two, mib=4)
        rows = {row.key: row for row in store.du()}
        assert mib(rows[both.key].size_bytes) == 7
        assert mib(rows[both.key].frees_bytes) == 4
        assert mib(rows[key(1)].frees_bytes) == 0
        assert mib(sum(row.added_bytes for row in rows.values())) == 7
        store.remove(both)
        assert [mib(row.frees_bytes) for row in store.du()] == [
            mib(row.size_bytes) for row in store.du()
        ]

    def test_twice_in_one_artifact_is_once(self, store: Store) -> None:
        staging = stage(store)
        write(staging.path, {"x": os.urandom(MIB)})
        (staging.path / "y").hardlink_to(staging.path / "x")
        publish(store, staging)
        (row,) = store.du()
        assert (mib(row.size_bytes), mib(row.frees_bytes)) == (1, 1)

    def test_a_link_outside_the_store_keeps_the_space(self, store: Store, tmp_path: Path) -> None:
        artifact = big(store, 1)
        (tmp_path / "mine").hardlink_to(artifact.path / "weights.bin")
        (row,) = store.du()
        assert (mib(row.size_bytes), mib(row.frees_bytes)) == (1, 0)

    def test_what_links_lead_to_is_not_the_stores(self, store: Store, tmp_path: Path) -> None:
        write(tmp_path, {"model/w.bin": os.urandom(MIB)})
        staging = stage(store)
        (staging.path / "w.bin").symlink_to(tmp_path / "model/w.bin")
        (staging.path / "all").symlink_to(tmp_path / "model")
        publish(store, staging)
        (row,) = store.du()
        assert mib(row.size_bytes) == 0

    def test_leftovers_damage_and_failures_take_space_too(self, store: Store) -> None:
        damaged = big(store, 1)
        (damaged.directory / "manifest.json").unlink()
        write(store.root, {".staging/gone-1/x": os.urandom(2 * MIB)})
        failed = stage(store, 2)
        failed.stderr.write_bytes(os.urandom(3 * MIB))
        store.abandon(failed, {"exit_code": 1})
        rows = [(row.kind, row.name, mib(row.size_bytes)) for row in store.du()]
        assert rows == [("convert", "tiny", 1), (".staging", "", 2), (".failed", "", 3)]


class TestGc:
    def test_without_limits_all_that_is_not_kept_goes(self, store: Store) -> None:
        for number in range(4):
            big(store, number, used_s=100 - number)
        rows = store.gc(keep={("convert", key(1)), ("run", key(2))})
        assert names(rows) == [("removed", key(number)) for number in (0, 2, 3)]
        assert [mib(row.freed_bytes) for row in rows] == [1, 1, 1]
        assert {row.reason for row in rows} == {"not to be kept"}
        assert [artifact.key for artifact in store.artifacts()] == [key(1)]
        assert list(store.verify()) == []

    def test_age(self, store: Store) -> None:
        big(store, 1, used_s=7 * 86400)
        big(store, 2, used_s=60)
        store.mark_used(big(store, 3, used_s=7 * 86400))
        rows = store.gc(older_than_s=86400)
        assert names(rows) == [("removed", key(1))]
        assert rows[0].reason == "not used for 7 days"

    def test_budget_takes_the_least_recently_used_first(self, store: Store) -> None:
        for number, used_s in enumerate((50, 400, 300, 200)):
            big(store, number, used_s=used_s)
        total = sum(row.added_bytes for row in store.du())
        assert store.gc(budget_bytes=total) == []
        rows = store.gc(budget_bytes=total - 1)
        assert names(rows) == [("removed", key(1))]
        assert rows[0].reason == "the store is over its budget"
        assert names(store.gc(budget_bytes=2 * MIB)) == [("removed", key(2)), ("removed", key(3))]

    def test_budget_counts_shared_files_once_and_frees_them_last(self, store: Store) -> None:
        one = big(store, 1, 2, used_s=500)
        both = assembled(store, 2, one, mib=1)
        age(both.directory / "manifest.json", 400)
        big(store, 3, 1, used_s=300)
        # 4 MiB; the oldest frees nothing as long as its link is there, so the next goes, too.
        plan = store.gc(budget_bytes=2 * MIB, dry_run=True)
        assert names(plan) == [("would remove", key(1)), ("would remove", key(2))]
        assert [mib(row.freed_bytes) for row in plan] == [0, 3]
        assert len(list(store.artifacts())) == 3
        rows = store.gc(budget_bytes=2 * MIB)
        assert names(rows) == [("removed", key(1)), ("removed", key(2))]
        assert [row.freed_bytes for row in rows] == [row.freed_bytes for row in plan]
        assert [artifact.key for artifact in store.artifacts()] == [key(3)]

    def test_kept_ones_count_for_the_budget_but_stay(self, store: Store) -> None:
        big(store, 1, 3, used_s=500)
        big(store, 2, 1, used_s=100)
        rows = store.gc(keep={("convert", key(1))}, budget_bytes=3 * MIB)
        assert names(rows) == [("removed", key(2))]

    def test_both_limits_hold(self, store: Store) -> None:
        for number, used_s in enumerate((5000, 300, 200)):
            big(store, number, used_s=used_s)
        rows = store.gc(older_than_s=1000, budget_bytes=3 * MIB // 2)
        assert [(row.key, row.reason) for row in rows] == [
            (key(0), "not used for 1.4 hours"),
            (key(1), "the store is over its budget"),
        ]

    def test_a_locked_or_pinned_one_stays(self, store: Store) -> None:
        big(store, 1, used_s=10)
        pinned = big(store, 2, used_s=5)
        with store.lock("convert", key(1)), store.pin(pinned):
            rows = store.gc()
        assert [(row.action, row.reason, row.freed_bytes) for row in rows] == [
            ("kept", "it is being built", 0),
            ("kept", "a process reads it", 0),
        ]
        assert isinstance(store.find("convert", key(1)), Hit)
        assert names(store.gc()) == [("removed", key(1)), ("removed", key(2))]
        assert list((store.root / ".locks").iterdir()) == []

    def test_one_that_a_run_took_meanwhile_stays(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        artifact = big(store, 1, used_s=1000)
        real = store.lock

        def take_it(kind: str, its: str):  # type: ignore[no-untyped-def]
            store.mark_used(artifact)
            return real(kind, its)

        monkeypatch.setattr(store, "lock", take_it)
        assert [row.reason for row in store.gc(older_than_s=500)] == ["a run took it just now"]
        assert isinstance(store.find("convert", key(1)), Hit)

    def test_damaged_ones_go_first_and_in_any_case(self, store: Store) -> None:
        big(store, 1, used_s=500)
        (big(store, 2, used_s=0).directory / "manifest.json").write_text("{")
        (big(store, 3, used_s=0).path / "weights.bin").unlink()
        rows = store.gc(older_than_s=86400, budget_bytes=10 * MIB)
        assert {(row.key, row.reason) for row in rows} == {(key(2), "damaged"), (key(3), "damaged")}
        assert [artifact.key for artifact in store.artifacts()] == [key(1)]

    def test_what_is_kept_is_kept_damaged_or_not(self, store: Store) -> None:
        (big(store, 2).directory / "manifest.json").write_text("{")
        assert store.gc(keep={("convert", key(2))}) == []

    def test_a_newer_mmtrts_artifact_is_not_taken_for_damaged(self, store: Store) -> None:
        manifest = big(store, 1).directory / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"schema":1,\n', '"schema":2,\n'))
        assert store.gc(older_than_s=86400) == []

    def test_leftovers_of_the_dead_go_and_the_living_stay(self, store: Store) -> None:
        write(store.root, {".staging/gone-1/x": os.urandom(MIB)})
        alive = stage(store)
        plan = store.gc(older_than_s=86400, dry_run=True)
        assert names(plan) == [("would remove", "gone-1")]
        assert names(store.gc(older_than_s=86400)) == [("removed", "gone-1")]
        assert alive.path.is_dir()

    def test_logs_of_old_failures_go_with_age(self, store: Store) -> None:
        for number in (1, 2):
            store.abandon(stage(store, number), {"exit_code": 1})
        old = store.failure("convert", key(1))
        assert old is not None
        age(old.directory, 3 * 86400)
        assert store.gc(budget_bytes=0) == []
        rows = store.gc(older_than_s=86400)
        assert [(row.kind, row.reason) for row in rows] == [
            (".failed", "logs of a failure 3 days ago")
        ]
        assert store.failure("convert", key(1)) is None
        assert store.failure("convert", key(2)) is not None

    def test_dry_run_changes_nothing(self, store: Store) -> None:
        for number in range(3):
            big(store, number)
        before = sorted(store.root.rglob("*"))
        assert len(store.gc(dry_run=True)) == 3
        assert sorted(store.root.rglob("*")) == before

    def test_of_nothing(self, store: Store) -> None:
        assert store.gc() == []
        assert not store.root.exists()

    def test_a_refusal_is_told(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        big(store, 1)

        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        replace_in_os("rename", refuse, monkeypatch.setattr)
        with pytest.raises(ArtifactError) as caught:
            store.gc()
        assert caught.value.code == "ART153"

    def test_a_reader_in_another_process_is_safe_until_it_dies(self, store: Store) -> None:
        big(store, 1)
        code = """
import sys, time
from pathlib import Path
from mmtrt.artifacts.store import Store
store = Store(Path(sys.argv[1]))
pin = store.pin(next(store.artifacts()))
print("pinned", flush=True)
time.sleep(600)
"""
        with subprocess.Popen(
            [sys.executable, "-c", code, str(store.root)], stdout=subprocess.PIPE, text=True
        ) as reader:
            assert reader.stdout is not None and reader.stdout.readline() == "pinned\n"
            assert [row.action for row in store.gc()] == ["kept"]
            reader.send_signal(signal.SIGKILL)
        assert [row.action for row in store.gc()] == ["removed"]
        assert store.find("convert", key(1)) == Miss()
