"""The README's own commands, section by section."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmtrt.fake.files import ENGINE_MARK
from tests.fake.conftest import Workshop
from tests.fake.readme import SCENARIOS


@pytest.mark.parametrize("name", SCENARIOS)
def test_commands_of_the_readme_work(workshop: Workshop, name: str) -> None:
    scenario = SCENARIOS[name]
    workshop.set_up(scenario)
    for line in scenario.lines():
        workshop.step(line, scenario)
    if scenario.family != "gemma3" and "eval.py" not in scenario.lines()[-1]:
        assert "[TRT-LLM] [I] \n[A]: ['" in workshop.said
    marked = 0
    for path in Path().rglob("*"):
        if path.name in ("config.json", "adapter_config.json"):
            assert json.loads(path.read_text())["fake"] is True
            marked += 1
        if path.suffix == ".engine":
            assert path.read_bytes().startswith(ENGINE_MARK)
    assert marked


def test_every_family_has_a_scenario() -> None:
    from mmtrt.fake.families import FAMILIES

    assert {s.family for s in SCENARIOS.values()} == FAMILIES.keys() - {"llama"}
