"""Time of composing, in this process: ``python -m pytest benchmarks``."""

from __future__ import annotations

import pytest

from mmtrt.config.compose import Composed, compose

ASKED = ("recipe=llava_next", "tp=2")


@pytest.fixture
def cache_dir(tmp_path, monkeypatch):
    monkeypatch.delenv("MMTRT_COMPOSE_CACHE", raising=False)
    monkeypatch.setenv("MMTRT_CACHE_DIR", str(tmp_path))
    return tmp_path


def test_compose_from_the_cache(benchmark, cache_dir):
    compose(ASKED)
    before = sorted(cache_dir.iterdir())
    assert before, "nothing was cached"
    assert isinstance(benchmark(compose, ASKED), Composed)
    assert sorted(cache_dir.iterdir()) == before


def test_compose_anew(benchmark, monkeypatch):
    monkeypatch.setenv("MMTRT_COMPOSE_CACHE", "0")
    assert isinstance(benchmark(compose, ASKED), Composed)
