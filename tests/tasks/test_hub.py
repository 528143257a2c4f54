from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mmtrt.tasks import hub
from mmtrt.tasks.hub_listing import RemoteFile, Repository
from mmtrt.tasks.messages import TaskError


def test_full_disk_is_seen_before_anything_is_fetched(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "e.mmtrt.incomplete").write_bytes(bytes(5000))
    fits = RemoteFile("a", free // 2, None, None)
    hub._require_space([fits], tmp_path / "not" / "yet" / "there")
    with pytest.raises(TaskError) as caught:
        hub._require_space([fits, RemoteFile("b", free, None, None)], tmp_path)
    assert caught.value.code == "ART105"
    assert "HF_HOME" in str(caught.value.fix)


@pytest.mark.parametrize(
    ("revision", "pinned"),
    [
        ("a" * 40, True),
        ("A" * 40, False),
        ("a" * 39, False),
        ("main", False),
        ("a" * 40 + "\n", False),
    ],
)
def test_only_a_whole_commit_hash_is_pinned(revision: str, pinned: bool) -> None:
    assert Repository("a/b", revision).is_pinned is pinned
