"""The points of a sweep are Hydra's, and share what they have in common."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtrt.config import grammar
from mmtrt.config.compose import Composer
from mmtrt.config.hydra_compose import quiet
from mmtrt.config.root import search_dirs


def test_points_share_their_files(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["recipe=llava", "quant=none,int4_wo", "workload.batch_size=range(1,51)", "tp=1,2"]
    composer = Composer()
    points = composer.expand(words)
    assert points is not None
    monkeypatch.setitem(sys.modules, "omegaconf", None)  # neither of them is needed
    monkeypatch.setitem(sys.modules, "hydra", None)
    composed = [composer.compose(point, number) for number, point in enumerate(points)]
    assert len(composed) == 200
    assert composed[3].settings.workload.batch_size == 2 and composed[3].settings.tp == 2
    assert composed[0].settings.recipe is composed[1].settings.recipe  # memory stays flat


SWEPT = st.lists(
    st.sampled_from(
        ["tp=1,2", "tp=4", "quant=none,fp8", "quant=none", "workload.batch_size=range(1,4)"]
        + ["run.prompt='a,b','c d'", "+x=choice(1,2)", "dtype=float16,float32", "pp=1,1,2", "~run"]
        + ["recipe=glob(llava*)", "run.image=[a.png,b.png]", "tp=sort(3,1,2)", "pp=shuffle(1)"]
    ),
    max_size=4,
)


@settings(max_examples=40, deadline=None)
@given(words=SWEPT)
def test_points_are_those_of_hydras_sweeper(words: list[str]) -> None:
    from hydra import initialize_config_dir
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    dirs = search_dirs()
    with quiet(), initialize_config_dir(str(dirs[0]), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(words)
        (theirs,) = BasicSweeper.split_arguments(parsed, None)
    ours = grammar.points(words, dirs)
    assert ours is not None
    # Hydra writes values anew, with other quotes; read again they are the same.
    unique = list(dict.fromkeys(tuple(map(str, values_of(point))) for point in theirs))
    assert [tuple(map(str, values_of(point))) for point in ours] == unique


def values_of(point: object) -> list[tuple[str, object]]:
    parsed, problems = grammar.parse(list(point))  # type: ignore[call-overload]
    assert not problems
    return [(each.key, each.value) for each in parsed]
