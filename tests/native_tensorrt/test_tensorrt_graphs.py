from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmtrt.native.errors import NativeError
from mmtrt.native.ort_graphs import OrtGraphs
from mmtrt.native.tensorrt_graphs import PlanGraphs, graphs_of
from tests.native_tensorrt.standin import CpuSession, StandIn, as_plan

PROMPTS = [[5, 17, 30, 44], [9, 21]]


def opened(directory: Path) -> CpuSession:
    return CpuSession(directory, api=StandIn())


# Needs engines of its own: half a minute.
pytestmark = pytest.mark.slow


@pytest.fixture
def plans(graphs: Path, tmp_path: Path) -> dict[str, Path]:
    return {name: as_plan(graphs / name, tmp_path / name) for name in ("llm", "vision")}


def test_plans_answer_as_the_graphs_they_were_made_from(
    graphs: Path, plans: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmtrt.native import session as sessions

    def answer() -> Any:
        session = sessions.EngineSession(graphs)
        pixels = np.random.default_rng(0).normal(size=(2, 3, 48, 48)).astype(np.float32)
        features = session.encode_images({"pixels": pixels})["features"]
        table = features.reshape(-1, session.llm.hidden_size)
        rows = [[session.llm.vocab_size + row for row in (0, 35, 36)], [session.llm.vocab_size]]
        prompts = [[*prompt, *row] for prompt, row in zip(PROMPTS, rows)]
        return session.generate(prompts, table, max_new_tokens=6, keep_logits=True), session

    wanted, _ = answer()
    monkeypatch.setattr(sessions, "graphs_of", lambda _: PlanGraphs(plans, opened))
    found, session = answer()
    assert found.token_ids == wanted.token_ids
    np.testing.assert_array_equal(np.stack(found.logits), np.stack(wanted.logits))
    assert session.load_ms > 0


def test_a_plan_is_loaded_once(plans: dict[str, Path]) -> None:
    loaded = PlanGraphs(plans, opened)
    assert loaded["vision"] is loaded["vision"]
    assert [output.name for output in loaded["vision"].get_outputs()] == ["features"]


def test_a_plan_of_another_version_is_refused_when_it_is_needed(plans: dict[str, Path]) -> None:
    other = PlanGraphs(plans, lambda directory: CpuSession(directory, api=StandIn(version="2")))
    with pytest.raises(NativeError, match="version is"):
        other.load("vision")


def test_plans_are_known_by_their_file(plans: dict[str, Path], graphs: Path) -> None:
    assert isinstance(graphs_of(plans), PlanGraphs)
    assert isinstance(graphs_of({name: graphs / name for name in plans}), OrtGraphs)
