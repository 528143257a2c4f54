from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mmtrt.report.collect import Report, StageRow, collect
from mmtrt.report.html.page import record_page, run_page, status_class, sweep_page
from mmtrt.report.html.pictures import data_uris, picture_files
from tests.report.html.samples import NASTY, png, sweep_results, write_record

_VOID = {"meta", "link", "img", "br", "path", "rect", "line", "circle"}


class Reader(HTMLParser):
    """Collects tags and attributes; fails where tags do not close."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(params=["run", "sweep"])
def page(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sweep":
        return sweep_page(sweep_results(NASTY))
    return run_page(collect(write_record(tmp_path, "20260102T030405Z-llava", text=NASTY)))


def test_a_page_needs_nothing_but_itself(page: str) -> None:
    reader = Reader(page)
    assert not [tag for tag, _ in reader.tags if tag in ("script", "iframe", "object")]
    addresses = [
        value
        for _, attrs in reader.tags
        for name, value in attrs.items()
        if name in ("src", "href", "action", "srcset", "data")
    ]
    assert all(value and value.startswith(("#", "data:")) for value in addresses)
    assert not re.search(r"@import|url\((?!#)", page)


def test_what_users_wrote_is_text(page: str) -> None:
    assert "<script" not in page.lower()
    assert NASTY in " ".join(Reader(page).text)


def test_ids_are_unique(page: str) -> None:
    ids = [attrs["id"] for _, attrs in Reader(page).tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_a_run_shows_plan_times_sizes_answers_and_failures(tmp_path: Path) -> None:
    page = run_page(collect(write_record(tmp_path, "20260102T030405Z-llava")))
    reader = Reader(page)
    drawn = [attrs["data-stage"] for tag, attrs in reader.tags if attrs.get("class") == "node"]
    assert drawn == ["download", "convert", "run"]  # a skipped stage is in the table only
    assert len([1 for tag, attrs in reader.tags if attrs.get("class") == "edge"]) == 3
    spans = [attrs["data-stage"] for tag, attrs in reader.tags if attrs.get("class") == "span"]
    assert spans == ["download", "convert", "run"]
    shown = " ".join(reader.text)
    for words in ("eval.task is unset", "2.0 KiB", "exit status 1", "SIZ101", "vqa", "50 %", "36"):
        assert words in shown
    images = [attrs for tag, attrs in reader.tags if tag == "img"]
    assert [image["alt"] for image in images] == ["red.png"]
    assert (images[0]["src"] or "").startswith("data:image/png;base64,")
    assert "gone.png" in shown


def test_a_killed_run_and_an_empty_record_have_pages(tmp_path: Path) -> None:
    page = run_page(collect(write_record(tmp_path, "20260102T030405Z-llava", ended=False)))
    assert "interrupted" in " ".join(Reader(page).text)
    empty = tmp_path / "20260102T030406Z-fuyu"
    empty.mkdir()
    assert "fuyu" in " ".join(Reader(record_page(empty)).text)


def test_a_sweep_shows_points_front_and_bars(tmp_path: Path) -> None:
    reader = Reader(sweep_page(sweep_results()))
    dots = [attrs["data-point"] for _, attrs in reader.tags if attrs.get("class") == "point"]
    assert dots == ["0", "1", "2", "4", "5"]  # the failed one has no figures
    assert sum(attrs.get("class") == "dot front" for _, attrs in reader.tags) == 3
    assert sum(attrs.get("class") == "front" for tag, attrs in reader.tags if tag == "tr") == 3
    assert sum(attrs.get("class") == "chart" for _, attrs in reader.tags) == 6
    shown = " ".join(reader.text)
    assert "6: 5 done, 1 failed" in shown and "int4_wo 2" in shown and "98 %" in shown


def test_sweeps_without_figures_have_pages() -> None:
    for results in ({}, {"points": []}, {"points": [{"id": "0", "status": "not_run"}]}):
        Reader(sweep_page(results))


def test_a_front_on_three_axes_is_no_line() -> None:
    results = sweep_results()
    assert "front-line" in [a.get("class") for _, a in Reader(sweep_page(results)).tags]
    results["pareto_axes"] = ["accuracy", "decode_tokens_per_s", "engine_bytes"]
    assert "front-line" not in [a.get("class") for _, a in Reader(sweep_page(results)).tags]


def test_a_sweep_of_a_thousand_points_has_a_page_that_opens() -> None:
    results = sweep_results()
    results["points"] = [
        {**results["points"][i % 3], "id": str(i), "decode_tokens_per_s": 50.0 + i}
        for i in range(1000)
    ]
    stages = tuple(
        StageRow(id=f"build_llm.{i}", kind="build_llm", status="hit") for i in range(900)
    )
    page = sweep_page(results, Report(run="r", recipe="sweep", stages=stages))
    reader = Reader(page)
    assert sum(attrs.get("class") == "point" for _, attrs in reader.tags) == 1000
    assert "900 stages, too many to draw" in " ".join(reader.text)
    assert len(page) < 4 << 20


def test_statuses_have_a_colour_each() -> None:
    assert status_class("hit") == "hit" and status_class("invalid") == "failed"
    assert status_class("anything else") == "left"


def test_pictures_are_embedded_by_what_they_hold(tmp_path: Path) -> None:
    image = png(tmp_path / "a.jpeg")
    (tmp_path / "b.png").write_text("no picture")
    found = picture_files([f"--image_path={image},{tmp_path / 'b.png'}", "relative.png"])
    assert set(found) == {"a.jpeg", "b.png"}
    assert list(data_uris(["a.jpeg", "b.png", "c.png"], found)) == ["a.jpeg"]
