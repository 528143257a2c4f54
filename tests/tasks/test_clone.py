from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mmtrt.artifacts.tree import scan

from .conftest import HOSTILE, Stage, call, tree

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"


class Origin:
    """A repository that serves what real servers do."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        self.git("init", "--quiet", "--initial-branch=main", "--template=")
        self.git("config", "uploadpack.allowReachableSHA1InWant", "true")

    @property
    def url(self) -> str:
        return self.root.as_uri()

    def git(self, *words: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=b", "-c", "protocol.file.allow=always")
        return subprocess.run(
            ["git", *identity, *words], cwd=self.root, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, **files: str) -> str:
        for name, text in files.items():
            self.put(name.replace("__", "/"), text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=x")
        return self.git("rev-parse", "HEAD")

    def put(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


@pytest.fixture(autouse=True)
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The empty directory in which a stage starts; it must be empty again afterwards."""
    place = tmp_path / "cwd"
    place.mkdir()
    monkeypatch.chdir(place)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    yield place
    assert not any(place.iterdir())


@pytest.fixture
def origin(tmp_path: Path, cwd: Path) -> Origin:
    return Origin(tmp_path / "origin")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out put"


def flags(url: str, revision: str, out: Path, *more: str) -> tuple[object, ...]:
    return ("clone", "--url", url, "--revision", revision, "--output-dir", out, *more)


def test_commit_that_is_no_tip_becomes_plain_files(stage: Stage, origin: Origin, out: Path) -> None:
    origin.put("run.sh", "#!/bin/sh\n").chmod(0o755)
    (origin.root / "link").symlink_to("docs/a")
    origin.commit(a="1\n", docs__a="x")
    wanted = origin.commit(a="2\n")
    origin.commit(a="3\n", docs__b="later")
    ended = stage.run(*flags(origin.url, wanted, out)).done()
    assert ended.stdout == f"commit {wanted}\n3 files\n"
    assert ended.stderr == ""
    assert (out / "link").readlink() == Path("docs/a")
    assert tree(out) == {"a": b"2\n", "docs/a": b"x", "link": b"x", "run.sh": b"#!/bin/sh\n"}
    assert os.access(out / "run.sh", os.X_OK)
    assert not os.access(out / "a", os.X_OK)


def test_tags_and_branches_are_found_and_warned_of(origin: Origin, out: Path) -> None:
    tagged = origin.commit(a="tag")
    origin.git("tag", "--annotate", "--message=x", "v1")
    tip = origin.commit(a="branch")
    origin.git("branch", "v1")
    ended = call(*flags(origin.url, "v1", out)).done()
    assert tree(out) == {"a": b"tag"}  # as git itself prefers
    assert "warning[MDL101]: the revision `v1` is not a commit hash" in ended.stderr
    assert f"fix: name the commit that it is now: {tagged}" in ended.stderr
    for name in ("main", "refs/heads/v1"):
        ended = call(*flags(origin.url, name, out.with_name(f"of {name[:4]}"))).done()
        assert ended.stdout.startswith(f"commit {tip}\n")


def test_configuration_and_environment_of_the_user_change_nothing(
    stage: Stage, origin: Origin, out: Path, tmp_path: Path
) -> None:
    origin.put(".gitattributes", "a text=auto\n*.lfs filter=evil\n")
    wanted = origin.commit(a="1\n2\n", b_lfs="kept")
    evil = tmp_path / "evil"
    home = tmp_path / "home"
    (home / ".config" / "git").mkdir(parents=True)
    (home / ".gitconfig").write_text(
        f"[core]\nautocrlf = true\neol = crlf\nhooksPath = {tmp_path}/hooks\n"
        f'[filter "evil"]\nsmudge = touch {evil}\n[url "file:///nowhere"]\ninsteadOf = file:\n'
    )
    (home / ".config" / "git" / "attributes").write_text("* filter=evil\n")
    (tmp_path / "hooks").mkdir()
    hook = tmp_path / "hooks" / "post-index-change"
    hook.write_text(f"#!/bin/sh\ntouch {evil}\n")
    hook.chmod(0o755)
    env = {"HOME": str(home), "GIT_DIR": "/nowhere", "GIT_WORK_TREE": "/nowhere"}
    env |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.eol", "GIT_CONFIG_VALUE_0": "crlf"}
    stage.run(*flags(origin.url, wanted, out), **env).done()
    assert tree(out)["a"] == b"1\n2\n"
    assert not evil.exists()


@pytest.mark.parametrize("can_filter", ["true", "false"])
def test_only_the_wanted_directories(origin: Origin, out: Path, can_filter: str) -> None:
    origin.git("config", "uploadpack.allowFilter", can_filter)
    names = [*HOSTILE, "a[1]*?", "!no", "#no", "deep/er", "b\\c", "end "]
    files = {f"{name}/x/y": name for name in names}
    for name, text in {**files, "a1": "no", "a1x": "no", "deep/no": "no", "root": "no"}.items():
        origin.put(name, text)
    wanted = origin.commit()
    subdirs = [f"--subdir={name}" for name in names]
    call(*flags(origin.url, wanted, out, *subdirs)).done()
    assert tree(out) == {name: text.encode() for name, text in files.items()}


def test_missing_directory(origin: Origin, out: Path) -> None:
    wanted = origin.commit(a__b="1")
    ended = call(*flags(origin.url, wanted, out, "--subdir=a", "--subdir=c")).failed("MDL114")
    assert "there is no `c` in" in ended.stderr
    call(*flags(origin.url, wanted, out, "--subdir=../a")).failed("ART104")
    assert tree(out) == {}


def test_unknown_revisions(origin: Origin, out: Path) -> None:
    wanted = origin.commit(a="1")
    for revision in ("v9", "*", "HEAD", "f" * 40):
        call(*flags(origin.url, revision, out)).failed("MDL113")
    ended = call(*flags(origin.url, wanted[:8], out)).failed("MDL113")
    assert "all 40 digits" in ended.stderr
    ended = call(*flags(origin.url, "--upload-pack=false", out))
    assert ended.status == 2


@pytest.mark.parametrize(
    "url",
    ["/no/such/place", "file:///no/such/place", "ext::touch evil", "--upload-pack=touch evil"],
)
def test_url_without_repository(out: Path, url: str) -> None:
    call("clone", f"--url={url}", "--revision=v1", "--output-dir", out).failed("MDL112")


def test_unreachable_server_may_be_tried_again(out: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://me:secret@127.0.0.1:{unused.getsockname()[1]}/x.git"
        ended = call(*flags(url, "v1", out)).failed("NET101", status=75)
    assert "secret" not in ended.stderr
    call(*flags("https://no-such-host.invalid/x.git", "v1", out)).failed("NET101", status=75)


@contextmanager
def answering(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/owner/repo.git"
        server.shutdown()


@pytest.mark.parametrize(
    ("answer", "code", "status"),
    [(401, "MDL111", 1), (403, "MDL111", 1), (404, "MDL112", 1), (503, "NET102", 75)],
)
def test_refusals_of_a_server(out: Path, answer: int, code: str, status: int) -> None:
    with answering(answer) as url:
        call(*flags(url, "v1", out)).failed(code, status)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("/etc/passwd", "ART104"),
        ("../../x", "ART104"),
        ("../../out put/a", "ART104"),
        ("../gone", "ART106"),
        ("../d", "ART106"),
        ("../link", "ART106"),
    ],
)
def test_links_that_leave_or_break(origin: Origin, out: Path, text: str, code: str) -> None:
    (origin.root / "d").mkdir()
    (origin.root / "d" / "l").symlink_to(text)
    (origin.root / "link").symlink_to("d/l")
    wanted = origin.commit(a="1")
    ended = call(*flags(origin.url, wanted, out)).failed(code)
    assert "`d/l`" in ended.stderr


def test_link_to_what_was_left_out(origin: Origin, out: Path) -> None:
    origin.put("docs/a", "1")
    (origin.root / "docs" / "l").symlink_to("../other")
    wanted = origin.commit(other__b="2")
    ended = call(*flags(origin.url, wanted, out, "--subdir=docs")).failed("ART106")
    assert "another --subdir" in ended.stderr
    both = out.with_name("both")
    call(*flags(origin.url, wanted, both, "--subdir=docs", "--subdir=other")).done()
    assert [leaf.path for leaf in scan(str(both)).files] == ["docs/a", "docs/l/b", "other/b"]


def test_lfs_pointers_and_submodules_are_told(origin: Origin, out: Path, tmp_path: Path) -> None:
    inner = Origin(tmp_path / "inner")
    inner.commit(secret="not fetched")
    origin.put("big.bin", POINTER)
    origin.git("submodule", "--quiet", "add", inner.url, "third/party")
    wanted = origin.commit(a="1")
    ended = call(*flags(origin.url, wanted, out)).done()
    assert "warning[MDL115]: Git LFS pointers instead of files: `big.bin`" in ended.stderr
    assert "note: submodules are not fetched: `third/party`" in ended.stderr
    assert set(tree(out)) == {".gitmodules", "a", "big.bin"}
    assert not list(out.rglob(".git"))


def test_git_must_be_there_and_not_too_old(
    origin: Origin, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = origin.commit(a="1")
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = call(*flags(origin.url, wanted, out)).failed("ART110")
    assert "there is no `git` in PATH" in ended.stderr
    (tmp_path / "git").write_text("#!/bin/sh\necho git version 2.25.1\n")
    (tmp_path / "git").chmod(0o755)
    ended = call(*flags(origin.url, wanted, out)).failed("ART110")
    assert "`git version 2.25.1`" in ended.stderr


def test_output_must_be_fresh(origin: Origin, out: Path) -> None:
    wanted = origin.commit(a="1")
    out.mkdir()
    (out / "mine").write_text("mine")
    call(*flags(origin.url, wanted, out)).failed("ART101")
    assert tree(out) == {"mine": b"mine"}
