"""Every rule has a request that it alone flags, so none can be lost without a test failing."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from mmtrt.host import Gpu, HostInfo
from mmtrt.rules.check import check_plan, find
from mmtrt.rules.codes import RULES
from mmtrt.rules.host import disk_short
from tests.rules.conftest import write_nemo
from tests.rules.test_rules import plan_of
from tests.worlds import HOST

ROOMY = replace(
    HOST,
    ram_bytes=4 << 40,
    gpus=tuple(Gpu(i, "H100", f"GPU-{i}", 90, 80 << 30) for i in range(8)),
    versions={
        **HOST.versions,
        "tensorrt-llm": "1.2.1",
        "transformers": "4.57.3",
        "nvidia-modelopt": "0.37.0",
        "datasets": "3.1.0",
        "pyarrow": "26.0.1",
        "numpy": "1.26.4",
    },
)
"""A machine that nothing is wrong with."""
PLENTY = 1 << 50
ROWS: dict[str, dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "mutations.yaml").read_text()
)


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Return the plan of a row, made where nothing else is."""
    place = tmp_path / "here"  # paths.store must not hold a word that MDL103 looks for
    place.mkdir()
    monkeypatch.chdir(place)

    def plan(code: str):
        row = ROWS.get(code)
        assert row is not None, f"{code}: no row in tests/rules/mutations.yaml, which says how"
        assert row.keys() <= {"request", "files", "host", "free_bytes"}
        free = row.get("free_bytes", PLENTY)
        monkeypatch.setattr(disk_short, "free_bytes", lambda plan: free)
        for name, content in row.get("files", {}).items():
            made = place / name
            made.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, dict) and "tower" in content:
                write_nemo(made, content["tower"])
            else:
                made.write_bytes(_bytes(content))
        return plan_of([str(word) for word in row["request"]], _host(row.get("host", {})))

    return plan


def _bytes(content: Any) -> bytes:
    if isinstance(content, dict) and "picture" in content:
        height, width = content["picture"]
        drawn = BytesIO()
        Image.new("RGB", (width, height)).save(drawn, "png")
        return drawn.getvalue()
    return (content if isinstance(content, str) else json.dumps(content)).encode()


def _host(changes: dict[str, Any]) -> HostInfo:
    gpus = changes.get("gpus")
    if gpus is not None:
        changes = {**changes, "gpus": tuple(Gpu(**gpu) for gpu in gpus)}
    return replace(ROOMY, **changes)


@pytest.mark.parametrize("code", RULES)
def test_this_rule_alone_flags_its_row(code, asked):
    found = find(asked(code))
    assert {finding.code for finding in found} == {code}, [f.render() for f in found]


@pytest.mark.parametrize("code", RULES)
def test_without_this_rule_its_row_passes(code, asked, monkeypatch):
    plan = asked(code)
    monkeypatch.delitem(RULES, code)
    assert check_plan(plan).findings == ()


def test_no_row_is_left_over():
    assert sorted(ROWS.keys() - RULES.keys()) == []
    assert list(ROWS) == sorted(ROWS)
