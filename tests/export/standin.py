"""A machine that looks like TensorRT-LLM's container to a script, without mmtrt and network."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

from mmtrt.backends.base import Command
from mmtrt.backends.fake import VARIABLE, Fake
from mmtrt.export import to_sh
from mmtrt.fake import container
from mmtrt.plan.graph import Plan
from tests.waiting import LIMIT_S
from tests.worlds import RECIPES

REVISION = "v1.2.1"
PACKAGES = (("timm", "1.0"), ("av", "17.0"), ("decord", "0.6"), ("qwen_vl_utils", "0.0.8"))
"""Packages that recipes install by name."""

HF = """\
#!{python}
import argparse, os, sys
parser = argparse.ArgumentParser(prog="hf", allow_abbrev=False)
parser.add_argument("command", choices=["download"])
parser.add_argument("repo")
parser.add_argument("--revision", required=True)
for name in ("local-dir", "cache-dir"):
    parser.add_argument("--" + name)
# Releases differ in how several patterns are given, so that this one takes a single one.
for name in ("include", "exclude"):
    parser.add_argument("--" + name, action="append", default=[])
args = parser.parse_args()
if len(args.include) > 1 or len(args.exclude) > 1:
    parser.error("one pattern only")
words = ["--output-dir", args.local_dir or args.cache_dir]
words += ["--repo-id", args.repo, "--revision", args.revision]
words += ["--hub-cache"] if args.cache_dir else []
words += [word for each in args.include for word in ("--include", each)]
words += [word for each in args.exclude for word in ("--exclude", each)]
os.environ["PYTHONPATH"] = {source!r}
os.execv({python!r}, [{python!r}, "-m", "mmtrt.fake", "download", *words])
"""


def role(plan: Plan) -> str:
    """Return what tells the stand-ins which model they play."""
    backend = Fake(plan.recipe, plan.choice.host)
    commands = (backend.lower(node.stage) for node in plan.active())
    roles = (each.env.get(VARIABLE) for each in commands if isinstance(each, Command))
    # A script does not take the network from its commands.
    return json.dumps({**json.loads(next(filter(None, roles), "{}")), "network": True})


class StandIn:
    """Directories and variables of the machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.examples = container.write(folder)
        self.python = folder / "python/bin/python3"
        self._write_hf()
        self._write_python()
        self._write_requirements()
        self._write_repositories()

    def run(self, plan: Plan, out: Path, **more: str | None) -> subprocess.CompletedProcess[str]:
        """Run a plan's script beside its output; a variable that is ``None`` is not set."""
        variables = self.env(out, role(plan)) | more
        out.parent.mkdir(exist_ok=True)
        return subprocess.run(
            ["bash", "-c", to_sh(plan)],
            env={name: value for name, value in variables.items() if value is not None},
            cwd=out.parent,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )

    def env(self, out: Path, role: str) -> dict[str, str]:
        """Return the variables of a script's process."""
        return {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "LANG": os.environ.get("LANG", "C.UTF-8"),
            "OUT": str(out),
            "PYTHON": str(self.python),
            "EXAMPLES": str(self.examples),
            "MMTRT_FAKE": role,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": self.folder.as_uri(),
        }

    def path_with(self, folder: Path, tool: str, first: str) -> str:
        """Return a ``PATH`` with which a tool does something else first, and maybe ends there."""
        real = shutil.which(tool, path=self.env(folder, "")["PATH"])
        folder.mkdir(exist_ok=True)
        path = folder / tool
        path.write_text(f'#!/bin/sh\n{first}\nexec {shlex.quote(str(real))} "$@"\n')
        path.chmod(0o755)
        return f"{folder}:{self.env(folder, '')['PATH']}"

    def _write_hf(self) -> None:
        path = self.folder / "bin/hf"
        path.write_text(HF.format(python=sys.executable, source=str(container.SOURCE)))
        path.chmod(0o755)

    def _write_python(self) -> None:
        """Make an interpreter that has pip and nothing else, mmtrt least of all."""
        venv.create(self.folder / "python", symlinks=True)
        (packages,) = self.folder.glob("python/lib/python*/site-packages")
        if (pip := find_spec("pip")) is not None and pip.origin is not None:
            (packages / "pip").symlink_to(Path(pip.origin).parent)

    def _write_requirements(self) -> None:
        """Let the examples require a package that is on this machine."""
        wheel = self._wheel("tiny_package", "1.0")
        for name, version in PACKAGES:
            self._wheel(name, version)
        for recipe in (RECIPES / "recipe").glob("*.yaml"):
            for name in re.findall(r"\{examples\}/([\w./-]+\.txt)", recipe.read_text()):
                (self.examples / name).parent.mkdir(parents=True, exist_ok=True)
                (self.examples / name).write_text(f"{wheel}\n")

    def _wheel(self, name: str, version: str) -> Path:
        wheel = self.folder / f"{name}-{version}-py3-none-any.whl"
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(f"{name}.py", "")
            said = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            archive.writestr(f"{info}/METADATA", said)
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        return wheel

    def _write_repositories(self) -> None:
        """Make repositories, and have git take them for those on GitHub."""
        (self.folder / ".gitconfig").write_text(
            f'[url "file://{self.folder}/github/"]\n  insteadOf = https://github.com/\n'
            "[user]\n  name = nobody\n  email = nobody@example.org\n"
            "[init]\n  defaultBranch = main\n[uploadpack]\n  allowFilter = true\n"
        )
        vila = self._repository("Efficient-Large-Model/VILA.git")
        (vila / "llava").mkdir()
        (vila / "llava/__init__.py").touch()
        self._commit(vila)
        trtllm = self._repository("NVIDIA/TensorRT-LLM.git")
        shutil.copytree(self.examples, trtllm / "examples")
        (trtllm / "cpp").write_text("not wanted")
        self._commit(trtllm)

    def _repository(self, name: str) -> Path:
        path = self.folder / "github" / name
        path.mkdir(parents=True)
        self._git(path, "init --quiet")
        return path

    def _commit(self, path: Path) -> None:
        self._git(path, "add .")
        self._git(path, "commit --quiet --message all")
        self._git(path, f"tag {REVISION}")

    def _git(self, path: Path, words: str) -> None:
        env = {**os.environ, "HOME": str(self.folder)}
        for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_CONFIG_GLOBAL"):
            env.pop(name, None)
        subprocess.run(["git", *shlex.split(words)], cwd=path, env=env, check=True)
