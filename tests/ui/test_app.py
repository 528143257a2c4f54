from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmtrt.artifacts.layout import ALIVE
from mmtrt.ui.logs import CHUNK_BYTES, piece
from tests.report.html.samples import NASTY, sweep_results, write_record
from tests.waiting import LIMIT_S, wait_until

RUN, LIVE, SWEEP = "20260102T030405Z-llava", "20260102T030406Z-llava", "20260102T030407Z-sweep"


class Site:
    """A server process of ``mmtrt ui``."""

    def __init__(self, runs: Path, *words: str) -> None:
        command = [sys.executable, "-m", "mmtrt", "ui", "--port", "0", "--runs", str(runs), *words]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        self.said = ""
        while "http://" not in self.said:
            line = self.process.stderr.readline()
            assert line, self.said
            self.said += line
        found = re.search(r"http://\S+", self.said)
        assert found is not None
        self.address = found.group()

    def get(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        request = urllib.request.Request(self.address + path, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
                return answer.status, answer.read().decode(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(), dict(error.headers)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    write_record(root, RUN, text=NASTY)
    sweep = root / SWEEP
    sweep.mkdir()
    (sweep / "results.json").write_text(json.dumps(sweep_results()))
    (root / "secret.txt").write_text("secret")
    return root


@pytest.fixture(scope="module")
def site(runs: Path) -> Iterator[Site]:
    site = Site(runs)
    yield site
    site.process.send_signal(signal.SIGINT)
    site.process.wait(LIMIT_S)


def test_the_list_names_runs_and_sweeps_newest_first(site: Site) -> None:
    status, page, headers = site.get("")
    assert status == 200
    assert re.findall(r'href="/runs/([^"]+)"', page) == [SWEEP, RUN]
    assert "<script" not in page
    assert headers["content-security-policy"].startswith("default-src 'none'")


def test_a_run_and_a_sweep_have_their_pages(site: Site) -> None:
    status, page, _ = site.get(f"runs/{RUN}")
    assert status == 200 and 'data-stage="convert"' in page
    assert f'href="/runs/{RUN}/log/run"' in page and 'href="/"' in page
    status, page, _ = site.get(f"runs/{SWEEP}")
    assert status == 200 and 'id="pareto"' in page


def test_a_log_is_shown_and_continued(site: Site, runs: Path) -> None:
    status, page, headers = site.get(f"runs/{RUN}/log/run")
    assert status == 200 and "exporting" in page
    nonce = re.search(r'<script nonce="([^"]+)"', page)
    assert nonce is not None and f"'nonce-{nonce.group(1)}'" in headers["content-security-policy"]
    log = runs / RUN / "staging" / "stderr.log"
    end = log.stat().st_size
    with log.open("a") as file:
        file.write("déjà vu\n")
    _, text, _ = site.get(f"runs/{RUN}/tail/run?start={end}")
    part = json.loads(text)
    assert (part["text"], part["start"], part["end"]) == ("déjà vu\n", end, log.stat().st_size)
    assert part["status"] == "failed"
    status, page, _ = site.get(f"runs/{RUN}/log/run?stream=stdout.log")
    assert status == 200 and "exporting" not in page


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("runs/none", 404),
        (f"runs/{RUN}/log/none", 404),
        (f"runs/{RUN}/log/download", 404),
        (f"runs/{RUN}/log/run?stream=../plan.json", 404),
        (f"runs/{RUN}/log/run?stream=/etc/passwd", 404),
        ("runs/..%2Fsecret.txt", 404),
        ("runs/../secret.txt", 404),
        ("secret.txt", 404),
        ("nothing/here", 404),
    ],
)
def test_nothing_else_is_served(site: Site, path: str, status: int) -> None:
    found, page, _ = site.get(path)
    assert found == status
    assert "secret" not in page.replace("secret.txt", "") and "root:" not in page
    assert "Traceback" not in page


def test_it_only_reads(site: Site) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert site.get("", method)[0] == 405


def test_a_page_of_another_name_is_refused(site: Site) -> None:
    assert site.get("", Host="attacker.example")[0] == 400
    assert site.get("", Host="localhost")[0] == 200
    assert site.get("", Host="[::1]:8600")[0] == 200


def test_it_listens_on_this_machine_only(site: Site) -> None:
    assert site.address.startswith("http://127.0.0.1:")
    assert "warning" not in site.said


def test_a_run_that_goes_on_is_followed(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    record = write_record(root, LIVE, ended=False)
    alive = record / "staging" / ALIVE
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl,sys,time\n"
            f"f=open({str(alive)!r},'w'); fcntl.flock(f, fcntl.LOCK_EX)\n"
            "print('held', flush=True); time.sleep(600)",
        ],
        stdout=subprocess.PIPE,
    )
    site = Site(root)
    try:
        assert holder.stdout is not None and holder.stdout.readline()
        assert 'http-equiv="refresh"' in site.get("")[1]
        assert 'http-equiv="refresh"' in site.get(f"runs/{LIVE}")[1]
        assert '"running"' in site.get(f"runs/{LIVE}/tail/convert?start=0")[1]
        holder.kill()
        holder.wait()
        wait_until(lambda: "interrupted" in site.get(f"runs/{LIVE}/tail/convert?start=0")[1])
    finally:
        holder.kill()
        site.process.send_signal(signal.SIGINT)
        assert site.process.wait(LIMIT_S) in (0, 130)


def test_a_port_that_is_taken_is_told(site: Site) -> None:
    port = site.address.rstrip("/").rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, "-m", "mmtrt", "ui", "--port", port], capture_output=True, text=True
    )
    assert done.returncode == 5 and "HST120" in done.stderr and "--port 0" in done.stderr


def test_pieces_of_a_log_join_to_the_whole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    whole = "".join(f"línea {i} — ok\n" for i in range(40_000))
    log.write_text(whole, encoding="utf-8")
    assert log.stat().st_size > 2 * CHUNK_BYTES
    text, at = "", 0
    while (part := piece(log, at)).text:
        text, at = text + part.text, part.end
    assert text == whole
    last = piece(log)
    assert last.start == log.stat().st_size - CHUNK_BYTES
    assert whole.endswith(last.text[1:])  # its first character may be cut


def test_a_character_is_never_cut_and_a_new_log_begins_anew(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for character in ("é", "€", "𝄞"):
        whole = character.encode()
        for cut in range(1, len(whole)):
            log.write_bytes(b"ok" + whole[:cut])
            assert piece(log, 0).text == "ok"
        log.write_bytes(b"ok" + whole)
        assert piece(log, 2).text == character
    log.write_bytes(b"new")
    assert piece(log, 100) == piece(log, 0)
