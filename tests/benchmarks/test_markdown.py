"""The Markdown writer: whole texts compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.markdown import (
    BEGIN,
    END,
    put_between,
    put_section,
    require_portable,
    table,
    to_markdown,
)
from benchmarks.rows import MET, MISSED, Row, Section, duration, spread, times, verdict
from benchmarks.timing import Sample, Timing


def test_table_escapes_bars_and_breaks():
    assert (
        table(("a", "b"), [("x|y", "one\ntwo")]) == "| a | b |\n| --- | --- |\n| x\\|y | one two |"
    )


def test_document_of_one_section():
    row = Row("`mmtrt ls`", "80.0 ms", "dvc 160 ms (2.00x)", "at most 90.0 ms", MET)
    section = Section("Start", [row], ["mmtrt ls"], ["A note."])
    assert to_markdown([("Python", "3.11.7")], [section]) == (
        "|  | measured on |\n"
        "| --- | --- |\n"
        "| Python | 3.11.7 |\n"
        "\n"
        "### Start\n"
        "\n"
        "| what | measured: median (range) | beside (times ours) | goal | verdict |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| `mmtrt ls` | 80.0 ms | dvc 160 ms (2.00x) | at most 90.0 ms | met |\n"
        "\n"
        "A note.\n"
        "\n"
        "```\n"
        "mmtrt ls\n"
        "```\n"
    )


def test_text_goes_between_the_markers_and_nowhere_else():
    document = f"# Title\n\n{BEGIN}\nold\n{END}\n\nafter\n"
    once = put_between(document, "new\n")
    assert once == f"# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\nafter\n"
    assert put_between(once, "new\n") == once


@pytest.mark.parametrize("document", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_document_without_its_markers_is_refused(document):
    with pytest.raises(ValueError, match="benchmarks:"):
        put_between(document, "new")


def test_docs_hold_the_markers():
    document = Path(__file__).parents[2] / "docs" / "benchmarks.md"
    assert put_between(document.read_text(encoding="utf-8"), "new")


def test_path_of_this_machine_is_refused():
    with pytest.raises(ValueError, match="a path of this machine"):
        require_portable("ran in /home/jo/x", [Path("/home/jo")])
    require_portable("ran / fast", [Path("/"), Path("/home/jo")])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0000123, "12 µs"),
        (0.001, "1.00 ms"),
        (0.0123, "12.3 ms"),
        (0.35, "350 ms"),
        (1.5, "1.50 s"),
        (168.7, "169 s"),
        (-0.002, "-2.00 ms"),
    ],
)
def test_durations_have_three_digits(seconds, text):
    assert duration(seconds) == text


def test_spread_tells_median_range_and_processor_time():
    timing = Timing((Sample(0.2, 0.1), Sample(0.1, 0.05), Sample(0.4, 0.2)))
    assert spread(timing) == "200 ms (100 ms to 400 ms; CPU 100 ms)"


def test_times():
    assert [times(f) for f in (0.42, 3.0, 12.34, 120.0)] == ["0.42x", "3.00x", "12.3x", "120x"]


def test_verdicts_include_the_goal_itself():
    assert verdict(60.0, at_most=60.0) == MET
    assert verdict(60.1, at_most=60.0) == MISSED
    assert verdict(0.8, at_least=0.8) == MET
    assert verdict(0.79, at_least=0.8) == MISSED


def test_one_section_takes_the_place_of_its_older_self():
    facts = [("date", "today"), ("memory", "8 GiB")]
    first, second = Section("One", [Row("a", "1 s")]), Section("Two", [Row("b", "2 s")])
    document = put_between(f"{BEGIN}\n{END}\n", to_markdown(facts, [first, second]))
    newer = put_section(document, Section("One", [Row("a", "9 s")]), facts)
    assert "| a | 9 s |" in newer and "| a | 1 s |" not in newer
    assert "| b | 2 s |" in newer and newer.index("### One") < newer.index("### Two")
    assert "Measured apart from the others: date today." in newer
    assert newer.count("| date | today |") == 1
    added = put_section(newer, Section("Three", [Row("c", "3 s")]), facts)
    assert added.index("### Two") < added.index("### Three") < added.index(END)
    assert put_section(added, Section("Three", [Row("c", "3 s")]), facts) == added
