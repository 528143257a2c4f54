"""Whatever is typed or written: an exit code of the contract, no traceback, no stage started."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmtrt.cli import dispatch
from mmtrt.config.keys import flat_keys
from mmtrt.executor.runner import LocalRunner
from tests.worlds import RECIPES

KEYS = sorted(flat_keys())
VALUES = st.one_of(
    st.sampled_from(
        ["null", "true", "no", "0", "-1", "1", "2", "1e400", "1.10", "12e4567", "[]", "[1,2]", "{}"]
        + [
            "{a:1}",
            "''",
            '"x"',
            "$HOME",
            "${tp}",
            "${oc.env:NOPE}",
            "a,b",
            "range(1,3)",
            "../..",
            "%",
        ]
        + [
            "llava",
            "native",
            "none",
            "asset://llava_tiny",
            "asset://../../etc",
            "9" * 30,
            "\\",
            "'",
        ]
    ),
    st.text(max_size=12),
)
OVERRIDE = st.builds(
    "{}{}={}".format, st.sampled_from(["", "", "", "+", "++", "~"]), st.sampled_from(KEYS), VALUES
)
CONTRACT = {0, 2, 5}


@pytest.fixture(autouse=True, scope="module")
def started():
    """Count processes instead of starting them: none may be asked for."""
    seen = []
    original = LocalRunner.start

    def start(self, launch):
        seen.append(launch.argv)
        raise AssertionError("a stage was started")

    LocalRunner.start = start
    yield seen
    LocalRunner.start = original


def run(*words: str) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = dispatch(list(words))
    return code, out.getvalue() + err.getvalue()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(OVERRIDE, max_size=4), st.sampled_from(["plan", "check", "size"]))
def test_overrides_never_end_in_a_traceback(tmp_path_factory, started, overrides, verb):
    root = tmp_path_factory.getbasetemp()
    words = ["recipe=llava", "variant=tiny", *overrides]
    code, text = run(verb, *words, f"paths.store={root}/store", f"paths.runs={root}/runs")
    assert code in CONTRACT, text
    assert "Traceback" not in text
    assert started == []
    if code == 2 and verb != "plan":
        assert "error[" in text


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_corrupted_recipe_files_never_end_in_a_traceback(tmp_path_factory, started, data):
    text = (RECIPES / "recipe/llava.yaml").read_text()
    lines = text.splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 3))):
        index = data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(
            st.sampled_from(["drop", "double", "indent", "tab", "text", "cut", "value"])
        )
        line = lines[index]
        lines[index] = {
            "drop": "",
            "double": line * 2,
            "indent": "  " + line,
            "tab": "\t" + line,
            "text": data.draw(st.text(max_size=8)) + "\n",
            "cut": line[: data.draw(st.integers(0, len(line)))] + "\n",
            "value": line.split(":")[0] + ": " + data.draw(VALUES) + "\n",
        }[change]
    root = tmp_path_factory.mktemp("fuzz")
    (root / "recipe").mkdir()
    (root / "recipe" / "mine.yaml").write_text("".join(lines), encoding="utf-8", errors="replace")
    code, shown = run(
        "plan",
        *("-cd", str(root), "recipe=mine", "variant=tiny"),
        *(f"paths.store={root}/store", f"paths.runs={root}/runs"),
    )
    assert code in CONTRACT, shown
    assert started == []


def test_run_with_a_rule_error_starts_nothing(tmp_path: Path, started):
    code, text = run(
        *("run", "recipe=llava", "variant=tiny", "max_multimodal_len=1"),
        *(f"paths.store={tmp_path}/store", f"paths.runs={tmp_path}/runs"),
    )
    assert code == 2
    assert "SIZ101" in text
    assert started == []
    assert not (tmp_path / "store").exists()
