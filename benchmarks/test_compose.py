"""Time of composing, in this process: ``python -m pytest benchmarks``."""

from __future__ import annotations

from mmtrt.config.compose import Composed, Composer, compose

ASKED = ("recipe=llava_next", "tp=2")


def test_compose(benchmark):
    assert isinstance(benchmark(compose, ASKED), Composed)


def test_compose_a_point_of_a_sweep(benchmark):
    composer = Composer()
    assert isinstance(benchmark(composer.compose, ASKED), Composed)
