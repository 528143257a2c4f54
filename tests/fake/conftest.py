"""A workshop: a directory where the README's commands are played in process."""

from __future__ import annotations

import json
import posixpath
import shlex
import struct
from pathlib import Path
from typing import Any

import pytest

from mmtrt.fake.tools import main
from tests.fake.readme import SCENARIOS, Scenario

MULTIMODAL = "models/core/multimodal"


def png(path: Path, height: int = 480, width: int = 640) -> None:
    """Write the head of a picture, which is all that is read."""
    size = struct.pack(">II", width, height)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + size + b"\x08\x02")


class Workshop:
    """Plays commands; `said` is what the last one printed, stdout and stderr together."""

    def __init__(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        self.directory, self._patch, self._capfd = directory, monkeypatch, capfd
        self.said = ""
        monkeypatch.chdir(directory)
        for name in ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"):
            monkeypatch.delenv(name, raising=False)

    def settings(self, **values: Any) -> None:
        """Say what the stand-ins play."""
        self._patch.setenv("MMTRT_FAKE", json.dumps({"version": "1.2.1"} | values))

    def ranks(self, size: int, rank: int = 0) -> None:
        """Play one of several processes."""
        self._patch.setenv("OMPI_COMM_WORLD_SIZE", str(size))
        self._patch.setenv("OMPI_COMM_WORLD_RANK", str(rank))

    def play(self, line: str) -> int:
        """Play one line of the README; return its exit status."""
        words = shlex.split(line)
        if words[0] in ("python", "python3"):
            words = [posixpath.normpath(f"{MULTIMODAL}/{words[1]}"), *words[2:]]
        status = main(words)
        captured = self._capfd.readouterr()
        self.said = captured.out + captured.err
        return status

    def ok(self, line: str) -> str:
        """Play a line that must succeed; return what it said."""
        assert self.play(line) == 0, self.said
        return self.said

    def refused(self, line: str, status: int = 1) -> str:
        """Play a line that must fail; return what it said."""
        assert self.play(line) == status, self.said
        return self.said

    def set_up(self, scenario: Scenario) -> None:
        """Write what the README downloads."""
        self.settings(family=scenario.family, facts=scenario.facts, **scenario.settings)
        model = f"tmp/hf_models/{scenario.model}"
        self.ok(f"download --repo-id {scenario.repo} --revision abc --output-dir {model}")
        for kind, what, *more in scenario.setup:
            if kind == "download":
                place = f"tmp/hf_models/{what.rsplit('/', 1)[-1]}"
                self.ok(f"download --repo-id {what} --revision abc --output-dir {place}")
            elif kind == "clone":
                self.ok(f"clone --url {what} --output-dir {more[0]}")
            elif kind == "png":
                png(self.directory / what)
            else:
                (self.directory / what).write_bytes(b"mmtrt fake file\n")

    def sed(self, model: str) -> None:
        """Patch CogVLM's vision code as the README does."""
        path = self.directory / f"tmp/hf_models/{model}/visual.py"
        lines = path.read_text().splitlines()
        assert "xformers" in lines[3] and "memory_efficient_attention" in lines[39]
        lines[3] = lines[40] = lines[41] = ""
        lines[39] = "        out = self.attention(q, k, v)"
        path.write_text("\n".join(lines))

    def build(self, name: str, until: int = -1) -> list[str]:
        """Set a scenario up and play its commands up to the one numbered; return all of them."""
        scenario = SCENARIOS[name]
        self.set_up(scenario)
        lines = scenario.lines()
        for line in lines[:until] if until != -1 else lines[:-1]:
            self.step(line, scenario)
        return lines

    def step(self, line: str, scenario: Scenario) -> None:
        """Play one command of a scenario."""
        if line == "sed":
            self.sed(scenario.model)
        else:
            self.ok(line)


@pytest.fixture
def workshop(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Workshop:
    """An empty workshop; its path holds none of the words that tools look for."""
    return Workshop(tmp_path_factory.mktemp("shop"), monkeypatch, capfd)
