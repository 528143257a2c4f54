"""The commands of TensorRT-LLM's multimodal README, as bash would read them.

Owns the reading of the README's fences. It does not own what a command means, and repairs nothing:
where the README forgets a backslash there are two commands, and prose inside a fence is a command
that no shell would find (kind ``stray``).

``python -m tests.readme.extract README.md`` rewrites ``commands.json`` beside this file, so that
tests need no README; it holds no text of the README but headings and the words of its commands.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from tests.worlds import ROOT

Kind = Literal["script", "clone", "pip", "export", "shell", "stray"]
KINDS: tuple[Kind, ...] = get_args(Kind)

DATA = Path(__file__).with_name("commands.json")

LANGUAGES = ("", "bash")
SHELL = ("cat", "cd", "sed", "wget")
FENCE = re.compile(r"\s*```\s*(\w*)\s*$")
HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")
VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True, kw_only=True)
class ReadmeCommand:
    """One command."""

    line: int
    """Its first line in the README, from 1."""
    section: str
    """The ``##`` heading above it."""
    block: int
    """Which fence of the README it stands in, from 0."""
    kind: Kind
    argv: tuple[str, ...]
    """Words after quote removal; ``${NAME}`` and ``<placeholder>`` stay as they are."""
    text: str = ""
    """The joined line without comment; a here-document's lines follow. Empty in stored data."""

    def stored(self) -> dict[str, Any]:
        """Return what ``commands.json`` keeps of it."""
        kept = asdict(self) | {"argv": list(self.argv)}
        del kept["text"]
        return kept


@dataclass(frozen=True)
class Block:
    """The inside of one fence."""

    first_line: int
    section: str
    lines: tuple[str, ...]


def blocks(readme: str) -> Iterator[Block]:
    """Yield the fences that a reader would paste into a shell."""
    section = language = ""
    inside: list[str] | None = None
    for number, line in enumerate(readme.splitlines(), 1):
        fence = FENCE.match(line)
        if inside is None:
            if fence:
                language, inside = fence[1], []
            elif line.startswith("## "):
                section = line.removeprefix("## ").strip()
        elif fence and not fence[1]:
            if language in LANGUAGES:
                yield Block(number - len(inside), section, tuple(inside))
            inside = None
        else:
            inside.append(line)


def joined(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield (index of the first line, command) as bash reads them: joined, without comments.

    A backslash before a newline joins, except in a comment and in single quotes; ``#`` starts a
    comment only where a word may start. A here-document stays with its command.
    """
    at = 0
    while at < len(lines):
        first, text, quote = at, "", ""
        more = True
        while more and at < len(lines):
            line, more = lines[at], False
            at += 1
            position = 0
            while position < len(line):
                char = line[position]
                if char == "\\" and quote != "'":
                    if position == len(line) - 1:
                        more = True
                    else:
                        text += line[position : position + 2]
                    position += 2
                    continue
                if char == "#" and not quote and (not text or text[-1].isspace()):
                    break
                if quote == char:
                    quote = ""
                elif not quote and char in "'\"":
                    quote = char
                text += char
                position += 1
            if quote and not more:
                text += "\n"
                more = True
        ends = HEREDOC.search(text)
        if ends:
            body = []
            while at < len(lines) and lines[at].strip() != ends[2]:
                body.append(lines[at])
                at += 1
            at += 1
            text = "\n".join([text.strip(), *body, ends[2]])
        if text.strip():
            yield first, text.strip()


def words(text: str) -> tuple[str, ...]:
    """Split a command into words; prose with a lone quote is split at blanks."""
    if HEREDOC.search(text):
        text = text.partition("\n")[0]
    try:
        return tuple(shlex.split(text))
    except ValueError:
        return tuple(text.split())


def kind_of(argv: Sequence[str]) -> Kind:
    """Tell what sort of command it is; ``stray`` is what bash would not find as a program."""
    program = argv[0]
    if program in ("python", "python3", "mpirun") or program.startswith("trtllm-"):
        return "script"
    if program == "git" and "clone" in argv[1:3]:
        return "clone"
    if program == "export":
        return "export"
    if program == "pip":
        return "pip"
    return "shell" if program in SHELL else "stray"


def extract(readme: str) -> list[ReadmeCommand]:
    """Return every command of a README, in its order."""
    found = []
    for number, block in enumerate(blocks(readme)):
        for offset, text in joined(block.lines):
            argv = words(text)
            found.append(
                ReadmeCommand(
                    line=block.first_line + offset,
                    section=block.section,
                    block=number,
                    kind=kind_of(argv),
                    argv=argv,
                    text=text,
                )
            )
    return found


def exports(commands: Sequence[ReadmeCommand], section: str) -> dict[str, list[str]]:
    """Return what a section exports: name to its values in order, unexpanded."""
    values: dict[str, list[str]] = {}
    for command in commands:
        if command.section == section and command.kind == "export":
            for word in command.argv[1:]:
                name, _, value = word.partition("=")
                values.setdefault(name, []).append(value)
    return values


def expand(word: str, values: Mapping[str, str]) -> str:
    """Replace ``${NAME}``, also inside values; unknown names stay."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name not in values:
            return found[0]
        others = {key: text for key, text in values.items() if key != name}
        return expand(values[name], others)

    return VARIABLE.sub(value, word)


def upstream() -> Path | None:
    """Return the README where it can be had: it is not part of this repository."""
    named = os.environ.get("MMTRT_README")
    path = Path(named) if named else ROOT.parent / "shared/upstream/multimodal_README.md"
    return path if named or path.is_file() else None


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stored() -> tuple[str, list[ReadmeCommand]]:
    """Return the README's digest and its commands from ``commands.json``."""
    data = json.loads(DATA.read_text())
    commands = [
        ReadmeCommand(**(command | {"argv": tuple(command["argv"])}))
        for command in data["commands"]
    ]
    return data["sha256"], commands


def store(readme: Path) -> None:
    """Rewrite ``commands.json``, a command a line."""
    commands = extract(readme.read_text())
    rows = ",\n".join("  " + json.dumps(c.stored(), ensure_ascii=False) for c in commands)
    DATA.write_text(f'{{"sha256": "{sha256(readme)}",\n "commands": [\n{rows}\n]}}\n')


if __name__ == "__main__":
    store(Path(sys.argv[1]))
