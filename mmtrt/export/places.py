"""Which variable of a script stands for which place of a plan."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mmtrt.backends.base import (
    EXAMPLES_PORT,
    Local,
    Out,
    Pair,
    Python,
    Script,
    Side,
    Unkeyed,
    Word,
)
from mmtrt.export.names import Names, below, one_a_line
from mmtrt.plan.graph import Node, Plan

AS_ROOT = '"${AS_ROOT[@]}"'
"""Where ``mpirun`` gets its leave to run as root: who runs the script is not known here."""
_LEAVE = "--allow-run-as-root"

SIDE = ".side"
"""Directory below ``$OUT`` of the files that tools keep from build to build."""


class Places:
    """Variables of outputs, example scripts and the user's own files."""

    def __init__(self, plan: Plan) -> None:
        self._active = plan.active()
        variables = Names("OUT", "PYTHON", "AS_ROOT")
        directories = Names()
        self._roots = {root: variables.variable("examples") for root in self._script_roots()}
        self._directory = {node.id: directories.directory(node.id) for node in self._active}
        self._output = {node.id: variables.variable(node.id, "dir") for node in self._active}
        self._local = {
            (node.id, place.name): variables.variable(node.id, place.name)
            for node in self._active
            for place in node.locals
        }

    def _script_roots(self) -> list[str | None]:
        words = [word for node in self._active if node.command for word in node.command.argv]
        return list(dict.fromkeys(word.root for word in words if isinstance(word, Script)))

    def directory(self, node: Node) -> str:
        """Return the directory of a stage below ``$OUT``."""
        return self._directory[node.id]

    def output(self, node: Node, path: str = "") -> str:
        """Return the output of a stage, or a path below it, as one shell word."""
        return below(self._output[node.id], path)

    def is_fetched(self) -> bool:
        """Return whether the example scripts come from a stage."""
        return None in self._roots

    def examples(self, node: Node) -> tuple[str, str] | None:
        """Return variable and value of the example scripts if this stage fetches them."""
        if None not in self._roots:
            return None
        feeds = (user.feeds.get(EXAMPLES_PORT) for user in self._active)
        if node.id not in feeds:
            return None
        return self._roots[None], below(self._output[node.id], "examples")

    def example_scripts(self) -> Iterator[str]:
        """Yield the assignment of every directory of example scripts, which becomes absolute."""
        fetched = next(filter(None, map(self.examples, self._active)), (None, ""))[1]
        for root, name in self._roots.items():
            yield f"{name}=${{{name}:-{fetched if root is None else shlex.quote(root)}}}"
            yield f"case ${name} in /*) ;; *) {name}=$PWD/${name} ;; esac"

    def example_variables(self) -> list[str]:
        """Return the variables of example scripts."""
        return list(self._roots.values())

    def outputs(self) -> Iterator[str]:
        """Yield the assignment of every stage's output."""
        for node in self._active:
            place = below("OUT", f"{self._directory[node.id]}/{node.stage.model_name}")
            yield f"{self._output[node.id]}={place}"

    def own_files(self) -> Iterator[str]:
        """Yield the assignment of every file of the user's."""
        for node in self._active:
            for place in node.locals:
                path = shlex.quote(str(Path(place.path).absolute()))
                yield f"{self._local[node.id, place.name]}={path}"

    def word(self, node: Node, word: Word | Side) -> str:
        """Return one word of a stage's command, quoted for the shell."""
        if isinstance(word, str):
            return shlex.quote(word)
        if isinstance(word, Unkeyed):
            return self.word(node, word.word)
        if isinstance(word, Side):
            return below("OUT", f"{SIDE}/{word.path}")
        if isinstance(word, Pair):
            return shlex.quote(word.prefix) + self.word(node, word.place)
        if isinstance(word, Python):
            return '"$PYTHON"' if word.port is None else self._fed(node, word.port, "bin/python")
        if isinstance(word, Script):
            return below(self._roots[word.root], word.path)
        if isinstance(word, Local):
            return f'"${self._local[node.id, word.name]}"'
        if isinstance(word, Out):
            return self.output(node, word.path)
        return self._fed(node, word.port, word.path)

    def _fed(self, node: Node, port: str, path: str) -> str:
        return below(self._output[node.feeds[port]], path)

    def command(self, node: Node, words: Sequence[Word], variables: Mapping[str, str]) -> list[str]:
        """Return a command and variables for it alone, each ``--flag`` on a line of its own."""
        texts = [(f"{name}={shlex.quote(value)}", False) for name, value in variables.items()]
        for index, word in enumerate(words):
            literal = word.word if isinstance(word, Unkeyed) else word
            literal = literal.prefix if isinstance(literal, Pair) else literal
            if literal == _LEAVE:
                continue
            is_flag = isinstance(literal, str) and literal.startswith("--")
            texts.append((self.word(node, word), is_flag))
            if tuple(words[max(0, index - 2) : index]) == ("mpirun", "-n"):
                texts.append((AS_ROOT, False))
        return one_a_line(texts)
