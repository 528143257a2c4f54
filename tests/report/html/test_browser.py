"""Pages in a real browser: what must be seen is there, and nothing covers anything else.

Needs Chromium (Debian's package ``chromium``); skipped where there is none.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import pytest

from mmtrt.report.collect import collect
from mmtrt.report.html.page import run_page, sweep_page
from tests.report.html.samples import sweep_results, write_record

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")

_MEASURE = """<script>
const boxes = {};
for (const query of ["g.node rect", "g.node text", "g.span text", "g.point circle",
    "g.point text.label", "text.tick", "h1", "h2", ".scroll", ".answer", ".chart", ".bar",
    "table", "img"]) {
  boxes[query] = [...document.querySelectorAll(query)].map(e => {
    const r = e.getBoundingClientRect();
    return [r.left, r.top, r.right, r.bottom];
  });
}
boxes.page = [[0, 0, document.documentElement.scrollWidth, innerWidth]];
boxes.colours = [getComputedStyle(document.body).backgroundColor];
const out = document.createElement("script");
out.type = "application/json"; out.id = "measured"; out.textContent = JSON.stringify(boxes);
document.body.append(out);
</script>"""


def pages(tmp_path: Path) -> dict[str, str]:
    report = collect(write_record(tmp_path / "runs", "20260102T030405Z-llava"))
    return {"run": run_page(report), "sweep": sweep_page(sweep_results())}


def chromium(*words: str) -> str:
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def measured(page: str, path: Path, width: int, *words: str) -> dict[str, list[list[float]]]:
    path.write_text(page.replace("</body>", _MEASURE + "</body>"), encoding="utf-8")
    found = chromium(f"--window-size={width},2000", *words, "--dump-dom", path.as_uri())
    match = re.search(r'id="measured">(.*?)</script>', found, re.DOTALL)
    assert match is not None
    document: dict[str, list[list[float]]] = json.loads(match.group(1))
    return document


def apart(boxes: list[list[float]]) -> bool:
    return all(
        a[2] <= b[0] + 0.5 or b[2] <= a[0] + 0.5 or a[3] <= b[1] + 0.5 or b[3] <= a[1] + 0.5
        for a, b in combinations(boxes, 2)
    )


@pytest.mark.parametrize("width", [1100, 500])
def test_everything_is_there_and_nothing_overlaps(tmp_path: Path, width: int) -> None:
    """500 pixels is the narrowest window that Chromium opens."""
    made = pages(tmp_path)
    run = measured(made["run"], tmp_path / "run.html", width)
    sweep = measured(made["sweep"], tmp_path / "sweep.html", width)
    assert len(run["g.node rect"]) == 3 and len(run["g.span text"]) == 6 and run["img"]
    assert len(sweep["g.point circle"]) == 5 and len(sweep["g.point text.label"]) == 5
    assert len(sweep[".chart"]) == 6 and sweep["table"]
    for boxes in (run, sweep):
        assert boxes["page"][0][2] <= width  # the page itself never scrolls sideways
        for query in ("g.node rect", "g.node text", "g.span text", "g.point text.label",
                      "text.tick", ".scroll", ".answer", ".chart", ".bar"):  # fmt: skip
            assert apart(boxes[query]), query
        assert apart(boxes["h2"] + boxes[".scroll"] + boxes[".chart"] + boxes[".answer"])
    for text in run["g.node text"]:
        assert any(r[0] <= text[0] and text[2] <= r[2] for r in run["g.node rect"])


def test_dark_mode_is_followed(tmp_path: Path) -> None:
    page = pages(tmp_path)["sweep"]
    light = measured(page, tmp_path / "a.html", 900, "--blink-settings=preferredColorScheme=1")
    dark = measured(page, tmp_path / "b.html", 900, "--blink-settings=preferredColorScheme=0")
    assert light["colours"] == ["rgb(255, 255, 255)"]
    assert dark["colours"] == ["rgb(20, 23, 27)"]


def test_a_screenshot_has_the_picture_of_the_plan(tmp_path: Path) -> None:
    """The boxes are painted: pixels of the statuses' colours are where the graph stands."""
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "run.html").write_text(pages(tmp_path)["run"], encoding="utf-8")
    shot = tmp_path / "shot.png"
    uri = (tmp_path / "run.html").as_uri()
    chromium("--window-size=1100,2000", f"--screenshot={shot}", uri)
    colours = {pixel for _, pixel in image.open(shot).convert("RGB").getcolors(1 << 22)}
    for name, rgb in {
        "hit": (227, 238, 251),
        "done": (226, 244, 232),
        "failed": (251, 230, 228),
    }.items():
        assert rgb in colours, name
