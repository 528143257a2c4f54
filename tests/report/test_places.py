from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mmtrt.errors import UsageError
from mmtrt.report.places import DEFAULTS, VARIABLES, place
from tests.worlds import RECIPES


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in VARIABLES.values():
        monkeypatch.delenv(name, raising=False)


def test_defaults_are_those_of_the_configuration():
    paths = yaml.safe_load((RECIPES / "config.yaml").read_text())["paths"]
    for what, default in DEFAULTS.items():
        assert paths[what] == f"${{oc.env:{VARIABLES[what]},{default}}}"
        assert place(what, None, []) == Path(default)


def test_the_nearest_word_wins(monkeypatch):
    monkeypatch.setenv("MMTRT_STORE", "/variable")
    assert place("store", None, []) == Path("/variable")
    assert place("store", None, ["paths.store=/override"]) == Path("/override")
    assert place("store", "/switch", ["paths.store=/override"]) == Path("/switch")
    assert place("runs", None, ["paths.store=/override"]) == Path("outputs/runs")


@pytest.mark.parametrize("quote", ["'", '"'])
def test_quotes_of_overrides_are_no_part_of_the_path(quote):
    assert place("store", None, [f"paths.store={quote}/a b{quote}"]) == Path("/a b")


def test_another_override_is_refused_with_the_nearest():
    with pytest.raises(UsageError) as error:
        place("store", None, ["path.store=/x"])
    assert error.value.fix == "paths.store=DIR"
