from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mmtrt.cli import dispatch
from mmtrt.lock.lock_file import LockFile
from mmtrt.lock.tables import Lock, LockedRecipe
from tests.tasks.hub_server import Hub, serve


@dataclass(frozen=True)
class Place:
    """A working directory with stores of its own, where command lines run in this process."""

    path: Path
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def run(self, line: str, *more: str, store: str = "store") -> tuple[int, str, str]:
        """Run ``mmtrt <line>`` and return exit code, stdout and stderr."""
        self.monkeypatch.setenv("MMTRT_STORE", str(self.path / store))
        code = dispatch([*line.split(), *more])
        out, err = self.capsys.readouterr()
        return code, out, err

    def done(self, line: str, *more: str, store: str = "store") -> str:
        """Run a line that must succeed; return stdout."""
        code, out, err = self.run(line, *more, store=store)
        assert code == 0, err
        return out

    def lock(self, name: str = "mmtrt.lock") -> Lock:
        return LockFile(self.path / name).read()

    def locked(self, recipe: str) -> LockedRecipe:
        return self.lock().recipes[recipe]

    def keys(self, store: str = "store") -> set[str]:
        """Return kind and key of everything that a store has."""
        return {
            f"{path.parent.parent.name}/{path.parent.name}"
            for path in (self.path / store).glob("*/*/manifest.json")
        }


@pytest.fixture
def place(tmp_path, capsys, monkeypatch) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMTRT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("MMTRT_LOCKED", raising=False)
    return Place(tmp_path, capsys, monkeypatch)


@pytest.fixture
def hub(place: Place) -> Iterator[Hub]:
    """A hub on loopback, and no cache of another."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "HF_TOKEN"):
        place.monkeypatch.delenv(name, raising=False)
    place.monkeypatch.setenv("HF_HOME", str(place.path / "hf"))
    place.monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    with serve() as hub:
        place.monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def git(directory: Path, *words: str) -> str:
    """Run git as somebody, without anybody's configuration."""
    name = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *name, *words], cwd=directory, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def repository(directory: Path, files: dict[str, str], tag: str | None = None) -> str:
    """Make a git repository, or add a commit to it; return the commit."""
    if not (directory / ".git").exists():
        directory.mkdir(parents=True)
        git(directory, "init", "-q", "-b", "main")
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    git(directory, "add", "-A")
    git(directory, "commit", "-q", "-m", "x")
    if tag:
        git(directory, "tag", "-f", "-a", tag, "-m", tag)
    return git(directory, "rev-parse", "HEAD")
