"""Documentation that cannot rot: links lead somewhere, the README shows what commands print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worlds import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def shown(name: str) -> str:
    found = re.search(rf"<!-- {name} output -->\n```\n(.*?)```\n", README, re.DOTALL)
    assert found, name
    return found[1]


def output(command: str, cwd: Path) -> str:
    words = command.removeprefix("$ ").split()
    assert words[0] == "mmtrt"
    done = subprocess.run(
        [sys.executable, "-m", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1"},
    )
    return done.stdout + done.stderr


def test_check_output_is_what_check_prints(tmp_path):
    command, *lines = shown("check").splitlines()
    assert output(command, tmp_path).splitlines() == lines


def test_commands_of_the_readme_are_verbs():
    from mmtrt.cli import VERBS

    for line in re.findall(r"^mmtrt (\S+)", README, re.MULTILINE):
        assert line in VERBS or "=" in line or line.startswith("-"), line


def test_make_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\S+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
