"""A plan as a plain shell script: the same commands, without mmtrt's executor, store and rules."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mmtrt import __version__
from mmtrt.backends.base import Command, In, Local, Out, Pair, Python, Script, Word
from mmtrt.plan.graph import Node, Plan

FUNCTIONS = """\
start() {  # STAGE DIR: make an empty output directory and an empty working directory
  echo "== $1" >&2
  rm -rf -- "$2" "$OUT/$1/.work"
  mkdir -p -- "$2" "$OUT/$1/.work"
}

finish() {  # STAGE PATH...: mark a stage as done if everything is there that it must write
  local stage=$1 path
  shift
  for path; do
    if [ ! -e "$path" ]; then
      echo "stage $stage did not write $path" >&2
      exit 1
    fi
  done
  rm -rf -- "$OUT/$stage/.work"
  : > "$OUT/$stage/.done"
}
"""

_PLAIN_PATH = re.compile(r"[\w./+:,@%-]+", re.ASCII)
"""Paths that need no quotes of their own between the quotes of a variable."""


def to_sh(plan: Plan) -> str:
    """Return a bash script with one block a stage; the same plan gives the same text."""
    script = _Script(plan)
    blocks = [script.block(node) for node in plan.nodes]
    return "\n".join([script.head(), FUNCTIONS, *blocks, script.foot()])


@dataclass
class _Names:
    """Hands out names of shell variables and of directories, each once."""

    taken: set[str] = field(default_factory=lambda: {"OUT", "PYTHON"})

    def variable(self, *parts: str) -> str:
        """Return a free variable name made of ``parts``."""
        text = re.sub(r"\W", "_", "_".join(parts).upper(), flags=re.ASCII)
        return self._free(text if not text[:1].isdigit() else f"STAGE_{text}")

    def directory(self, text: str) -> str:
        """Return a free directory name that needs no quotes."""
        plain = re.sub(r"[^\w.-]", "_", text, flags=re.ASCII)
        return self._free(f"stage_{plain}" if plain.strip(".") != plain else plain)

    def _free(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self.taken:
            count += 1
            name = f"{wanted}_{count}"
        self.taken.add(name)
        return name


class _Script:
    """Knows which variable stands for which place."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        variables, directories = _Names(), _Names()
        active = plan.active()
        self._directory = {node.id: directories.directory(node.id) for node in active}
        self._output = {node.id: variables.variable(node.id, "dir") for node in active}
        words = [w for n in active if n.command is not None for w in n.command.argv]
        roots = dict.fromkeys(word.root for word in words if isinstance(word, Script))
        self._scripts = {root: variables.variable("examples") for root in roots}
        self._local = {
            (node.id, place.name): variables.variable(node.id, place.name)
            for node in active
            for place in node.locals
        }

    def head(self) -> str:
        """Return everything before the functions: what it is, options, variables."""
        recipe, choice = self._plan.recipe, self._plan.choice
        toolchain = " ".join(
            dict.fromkeys((choice.backend.name, *choice.backend.toolchain().values()))
        )
        command = shlex.join(("mmtrt", "export", *recipe.overrides, "--format", "sh"))
        slug = re.sub(r"[^\w.-]", "_", f"{recipe.name}-{recipe.variant_name}", flags=re.ASCII)
        lines = [
            "#!/usr/bin/env bash",
            _comment(f"{recipe.name} {recipe.variant_name} as plain commands: {toolchain}"),
            _comment(f"mmtrt {__version__}: {command}"),
            "#",
            "# Each block is one stage; it writes to $OUT/<stage>/<model name>. A stage that has a",
            "# .done marker is skipped: remove the marker to run it again. These may be set from",
            "# outside: OUT, and PYTHON, an interpreter that has mmtrt and the toolchain.",
            "set -euo pipefail",
            "",
            f"OUT=${{OUT:-outputs/{slug}}}",
            "PYTHON=${PYTHON:-python3}",
        ]
        lines += [
            f"{name}=${{{name}:-{shlex.quote(root)}}}" for root, name in self._scripts.items()
        ]
        lines += [
            "",
            'mkdir -p -- "$OUT"',
            'OUT=$(CDPATH= cd -- "$OUT" && pwd)',
            "case $PYTHON in",
            '  */*) PYTHON=$(CDPATH= cd -- "$(dirname -- "$PYTHON")" && pwd)/${PYTHON##*/} ;;',
            "esac",
            "export PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1",
            "",
            "# What each stage writes",
        ]
        lines += [
            f"{variable}={_path('OUT', f'{self._directory[node.id]}/{node.stage.model_name}')}"
            for node, variable in zip(self._plan.active(), self._output.values())
        ]
        if self._local:
            lines += ["", "# Your own files"]
            lines += [
                f"{self._local[node.id, place.name]}="
                f"{shlex.quote(str(Path(place.path).absolute()))}"
                for node in self._plan.active()
                for place in node.locals
            ]
        return "\n".join(lines) + "\n"

    def block(self, node: Node) -> str:
        """Return the lines of one stage."""
        if node.command is None:
            return _comment(f"{_title(node)}: skipped, {node.skip}") + "\n"
        command, directory = node.command, self._directory[node.id]
        output = f'"${self._output[node.id]}"'
        work = self._word(node, command.cwd) if command.cwd else f'"$OUT/{directory}/.work"'
        exports = dict(command.env)
        if not command.resources.network:
            # As mmtrt does: a hidden download fails at once.
            exports.setdefault("HF_HUB_OFFLINE", "1")
        lines = [
            _comment(f"{_title(node)}: {_purpose(node)}"),
            _comment(f"  {_reads(node)}"),
            f'if [ ! -e "$OUT/{directory}/.done" ]; then',
            f"  start {directory} {output}",
            "  (",
            f"    cd -- {work}",
            *(f"    export {name}={shlex.quote(value)}" for name, value in exports.items()),
            *(f"    {line}" for line in self._command_lines(node, command)),
            "  )",
            " ".join([f"  finish {directory}", *self._outputs(node, command)]),
            "fi",
        ]
        return "\n".join(lines) + "\n"

    def foot(self) -> str:
        """Return the last line."""
        return 'echo "done: $OUT" >&2\n'

    def _outputs(self, node: Node, command: Command) -> Iterable[str]:
        return (_path(self._output[node.id], path) for path in command.outputs.values())

    def _command_lines(self, node: Node, command: Command) -> list[str]:
        """Return the command, each ``--flag`` on a line of its own."""
        lines: list[str] = []
        for word in command.argv:
            text = self._word(node, word)
            literal = word.prefix if isinstance(word, Pair) else word
            if not lines:
                lines.append(text)
            elif isinstance(literal, str) and literal.startswith("--"):
                lines.append("  " + text)
            else:
                lines[-1] += " " + text
        return [line + " \\" for line in lines[:-1]] + lines[-1:]

    def _word(self, node: Node, word: Word) -> str:
        """Return one word, quoted for the shell."""
        if isinstance(word, str):
            return shlex.quote(word)
        if isinstance(word, Pair):
            return shlex.quote(word.prefix) + self._word(node, word.place)
        if isinstance(word, Python):
            return '"$PYTHON"'
        if isinstance(word, Script):
            return _path(self._scripts[word.root], word.path)
        if isinstance(word, Local):
            return f'"${self._local[node.id, word.name]}"'
        if isinstance(word, Out):
            return _path(self._output[node.id], word.path)
        assert isinstance(word, In)
        return _path(self._output[node.feeds[word.port]], word.path)


def _path(variable: str, below: str) -> str:
    """Return the place below a variable, as one shell word."""
    if not below:
        return f'"${variable}"'
    if _PLAIN_PATH.fullmatch(below):
        return f'"${variable}/{below}"'
    return f'"${variable}"/{shlex.quote(below)}'


def _comment(text: str) -> str:
    """Return a comment; a line break in ``text`` must not end it."""
    return "# " + " ".join(text.splitlines())


def _title(node: Node) -> str:
    return node.id if node.id == node.kind else f"{node.id} ({node.kind})"


def _purpose(node: Node) -> str:
    """Return what the stage is for: the first line of its module's documentation."""
    text = sys.modules[type(node.stage).__module__].__doc__ or node.kind
    first = text.strip().splitlines()[0]
    return first[:1].lower() + first[1:].rstrip(".")


def _reads(node: Node) -> str:
    """Return which stages and files the command reads, and the GPUs it wants."""
    assert node.command is not None
    parts = [
        f"{place.port} from {node.feeds[place.port]}"
        if isinstance(place, In)
        else f"{place.name} from {Path(place.path).name}"
        for place in node.command.places()
    ]
    text = "reads " + (", ".join(dict.fromkeys(parts)) or "nothing")
    needs = node.command.resources
    if needs.gpus:
        text += f"; needs {needs.gpus} GPU{'s' * (needs.gpus > 1)}"
    return text + ("; needs network" if needs.network else "")
