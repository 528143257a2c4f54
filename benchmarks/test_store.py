"""Time of a look-up in the store, in this process: ``python -m pytest benchmarks``."""

from __future__ import annotations

import pytest

from mmtrt.artifacts.keys import key_of
from mmtrt.artifacts.store import Hit, Miss, Store

KIND = "convert"


def filled(store: Store, files: int) -> str:
    """Publish an artifact of some files; return its key."""
    document = {"schema": 1, "kind": KIND, "files": files}
    key = key_of(document)
    staging = store.open_staging(KIND, key, "model")
    for i in range(files):
        (staging.path / f"rank{i}.safetensors").write_text(f"{i}\n")
    store.publish(
        staging,
        key_document=document,
        command={"argv": ["true"]},
        host={},
        seconds=0.0,
        backend="native",
        stage=KIND,
    )
    return key


@pytest.mark.parametrize("files", [1, 200])
def test_find_a_hit(benchmark, tmp_path, files):
    store = Store(tmp_path)
    key = filled(store, files)
    assert isinstance(benchmark(store.find, KIND, key), Hit)


def test_find_a_miss(benchmark, tmp_path):
    store = Store(tmp_path)
    filled(store, 1)
    assert isinstance(benchmark(store.find, KIND, "0" * 64), Miss)
