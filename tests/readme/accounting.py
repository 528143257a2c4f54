"""The README's commands against ours: the same tool, flags, values and flow of data.

Owns the comparison of one command with what a recipe's call makes of it, and the reading of
``accounts.yaml``, which tells the call. Both commands are read with the tools' own flag tables;
what then differs must be in the account's ``differs``, and all of that must be there.

Three things count as the same:

1. a flag at the tool's default and no flag; two names of one flag; 1 and 1.0;
2. words that cannot change an output (:class:`Unkeyed`): the README's must be among ours, or
   defaults; of ours alone nothing is asked;
3. a path and a place, if what lies there is made by the stages that account for the commands which
   make it in the README, or is a file of the user's with the same name.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from mmtrt.backends import flags
from mmtrt.backends.base import In, Local, Out, Pair, Python, Script, Side, Unkeyed, Word
from mmtrt.plan.build import make_plan
from mmtrt.plan.graph import Node, Plan
from tests.readme.extract import ReadmeCommand, expand, exports, stored
from tests.worlds import HOST, recipe

SHA256, COMMANDS = stored()
BY_LINE = {command.line: command for command in COMMANDS}
ACCOUNTS = Path(__file__).with_name("accounts.yaml")

TRTLLM = "1.2.1"
MULTIMODAL = "examples/models/core/multimodal"
HUB = "https://huggingface.co/"
BUILDER = replace(HOST, is_root=True, trtllm_examples="/examples")
"""A machine where mpirun needs ``--allow-run-as-root``, as the README's."""

UNKEYED = ("--workers", "--input_timing_cache", "--allow-run-as-root")
NUMBER = re.compile(r"\d+(\.\d*)?")

Values = list[str | Word]
Flow = dict[str, tuple[str, str]]
"""What lies at a path: the part of it -> (stage, path below its output); ``""`` is all of it."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """One row: who makes a command."""

    line: int
    section: str
    stage: str = ""
    calls: tuple[str, ...] = ()
    differs: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""
    told: int | None = None
    """Where the README asks for the difference itself."""
    repair: int | None = None
    """The line under which a recipe tells it, if it is none of the command's."""
    content: Any = None
    """What a here-document says; the stored commands have no text."""
    skipped_in: tuple[str, ...] = ()
    """Calls in which the stage has nothing to do."""
    left_out: str = ""
    """Why no stage does it."""
    joins: int | None = None
    """The command that these words belong to."""

    @property
    def command(self) -> ReadmeCommand:
        return BY_LINE[self.line]

    @property
    def name(self) -> str:
        """Name for people: ``644 build_llm llava_7b``."""
        return " ".join(str(part) for part in (self.line, self.stage, *self.calls[:1]) if part)

    def fixes(self, kind: str) -> dict[str, Any]:
        """Return one kind of difference: flag to what is said of it."""
        return dict(self.differs.get(kind, {}))


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section of the README."""

    title: str
    cwd: str
    calls: Mapping[str, Mapping[str, Any]]
    given: Mapping[str, Any]
    names: Mapping[str, Any]
    prose: Mapping[int, str]
    added: Mapping[str, str]
    limits: Sequence[tuple[int, str, str, int]]
    accounts: tuple[Account, ...]

    def names_of(self, call: str) -> dict[str, str]:
        """Return what the names in the README's commands stand for in a call."""
        single = {k: v[0] for k, v in exports(COMMANDS, self.title).items() if len(v) == 1}
        given = {**single, **self.names, **self.calls[call].get("names", {})}
        return {name: str(value) for name, value in given.items()}

    def given_to(self, call: str) -> dict[str, Any]:
        """Return the paths that no command makes, with what lies there."""
        return {**self.given, **self.calls[call].get("given", {})}


class _Loader(yaml.SafeLoader):
    """YAML in which no key stands twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if len(keys) != len(set(keys)):
            raise ValueError(f"a key stands twice, {node.start_mark}")
        return super().construct_mapping(node, deep)


@cache
def sections() -> dict[str, Section]:
    """Return every section by its title."""
    found = {}
    for title, data in yaml.load(ACCOUNTS.read_text(), _Loader).items():
        accounts = []
        for line, rows in data["lines"].items():
            for row in rows if isinstance(rows, list) else [rows]:
                lists = {key: tuple(row[key]) for key in ("calls", "skipped_in") if key in row}
                accounts.append(Account(line=line, section=title, **row | lists))
        found[title] = Section(
            title=title,
            cwd=data.get("cwd", MULTIMODAL),
            calls=data["calls"],
            given=data.get("given", {}),
            names=data.get("names", {}),
            prose=data.get("prose", {}),
            added=data.get("added", {}),
            limits=[tuple(row) for row in data.get("limits", ())],
            accounts=tuple(accounts),
        )
    return found


def accounts() -> list[Account]:
    """Return every row, in the order of the file."""
    return [account for section in sections().values() for account in section.accounts]


def normal(path: str) -> str:
    """Return a path as the README's commands may also write it."""
    return posixpath.normpath(path)


def resolved(names: Mapping[str, str], word: str) -> str:
    """Return a word with its variables and placeholders in place."""
    word = expand(word, names)
    for name, value in names.items():
        if name.startswith("<"):
            word = word.replace(name, value)
    return word


def canonical(value: Any) -> Any:
    """Return a value so that equal numbers are equal."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return float(value)
    return value


def listed(value: Any) -> list[str]:
    """Return what an account writes for a flag's values."""
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


@dataclass
class Spoken:
    """A command, read."""

    launcher: list[str]
    tool: str
    program: str
    """Script below TensorRT-LLM's root, or the program's name."""
    flags: dict[str, Values]
    unkeyed: dict[str, list[str]]
    twice: list[str] = field(default_factory=list)

    def said(self) -> dict[str, list[Any]]:
        """Return the flags that are not at the tool's default."""
        usual = flags.defaults(self.tool, TRTLLM)
        made = {flag: [canonical(value) for value in values] for flag, values in self.flags.items()}
        return {
            flag: values
            for flag, values in made.items()
            if flag not in usual or values != [canonical(str(usual[flag]))]
        }


def read(words: Sequence[str | Word], program: str) -> Spoken:
    """Read a command whose interpreter and script are one word, ``program``."""
    at = words.index(program)
    launcher = [str(word) for word in words[:at] if not isinstance(word, Unkeyed)]
    loose = [word.word for word in words if isinstance(word, Unkeyed)]
    rest = [word for word in words[at + 1 :] if not isinstance(word, Unkeyed)]
    texts = [word if isinstance(word, str) else f"\0{index}" for index, word in enumerate(rest)]
    tool = flags.tool_of([program], TRTLLM)
    assert tool, program
    parsed = flags.parse([program, *texts], TRTLLM)

    def word(text: str) -> str | Word:
        return rest[int(text[1:])] if text.startswith("\0") else text

    made = {flag: [word(text) for text in values] for flag, values in parsed.items()}
    unkeyed = {flag: [str(v) for v in made.pop(flag)] for flag in UNKEYED if flag in made}
    named = [text.partition("=")[0] for text in texts if text.startswith("--")]
    for index, each in enumerate(loose):
        if isinstance(each, str) and each.startswith("--"):
            unkeyed[each] = []
        else:
            assert index
            unkeyed[list(unkeyed)[-1]].append(each if isinstance(each, str) else each.symbol())
    for flag in [word for word in launcher if word in UNKEYED]:
        launcher.remove(flag)
        unkeyed[flag] = []
    twice = sorted({flag for flag in named if named.count(flag) > 1})
    return Spoken(launcher, tool, program, made, unkeyed, twice)


def readme_command(account: Account, names: Mapping[str, str], cwd: str) -> Spoken:
    """Read a command of the README as it stands, but for words that its account moves."""
    argv = list(account.command.argv)
    if "joins" in account.differs:
        argv += BY_LINE[account.differs["joins"]].argv
    for kind in ("words", "twice"):
        lost = account.differs.get(kind, [])
        gone = list(lost) if kind == "words" else [w for pair in dict(lost).items() for w in pair]
        if gone:
            at = argv.index(gone[0])
            assert argv[at : at + len(gone)] == gone, account.name
            del argv[at : at + len(gone)]
    start = next(i for i, word in enumerate(argv) if word.startswith(("python", "trtllm-")))
    program = argv[start]
    if program.startswith("python"):
        script = resolved(names, argv.pop(start + 1))
        if "script" in account.differs:
            theirs, right = account.differs["script"]
            assert script == theirs, account.name
            assert normal(posixpath.join(cwd, theirs)) != normal(posixpath.join(cwd, right))
            script = right
        program = normal(posixpath.join(cwd, script))
    argv[start] = program
    return read([program if w == program else resolved(names, w) for w in argv], program)


def our_command(node: Node) -> Spoken:
    """Read a command of ours; a served tool stands behind ``--``."""
    assert node.command is not None
    words: list[str | Word] = list(node.command.argv)
    if node.kind == "serve":
        words = words[words.index("--") + 1 :]
    scripts = [word for word in words if isinstance(word, Script)]
    if "env" in words:  # where hub names are found; a README's reader has the network
        at = words.index("env")
        assert isinstance(words[at + 1], Pair)
        del words[at : at + 2]
    if scripts:
        at = words.index(scripts[0])
        assert isinstance(words[at - 1], Python)
        words[at - 1 : at + 1] = [f"examples/{scripts[0].path}"]
        return read(words, f"examples/{scripts[0].path}")
    program = words[0]
    assert isinstance(program, str)
    return read(words, program)


class Book:
    """Plans of the calls, and what lies where in the README after the commands of a call."""

    def __init__(self, files: Path) -> None:
        self.files = files
        self._plans: dict[tuple[str, str], Plan] = {}

    def plan(self, section: str, call: str) -> Plan:
        """Return the plan of a call."""
        key = section, call
        if key not in self._plans:
            keys = dict(sections()[section].calls[call])
            for ours in ("names", "given"):
                keys.pop(ours, None)
            made = {key.replace(".", "__"): self._filled(value) for key, value in keys.items()}
            name = made.pop("recipe")
            self._plans[key] = make_plan(recipe(name, backend="trtllm", **made), BUILDER)
        return self._plans[key]

    def _filled(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._filled(each) for each in value]
        return value.replace("{files}", str(self.files)) if isinstance(value, str) else value

    def node(self, account: Account, call: str) -> Node:
        """Return the node that accounts for a command."""
        return self.plan(account.section, call)[account.stage]

    def flow(self, section: Section, call: str, before: int, without: int = 0) -> dict[str, Flow]:
        """Return what lies at each path when the README's commands up to a line have run.

        Args:
            section: the section.
            call: only what accounts for it counts.
            before: a line.
            without: line of a command whose account corrects a path: as if it did not.
        """
        names = section.names_of(call)
        made: dict[str, Flow] = {}
        for path, what in section.given_to(call).items():
            parts = what if isinstance(what, dict) else {"": what}
            made[normal(resolved(names, path))] = {
                part: _stage_and_path(source) for part, source in parts.items()
            }
        for account in section.accounts:
            if account.line < before and call in account.calls:
                for path, flow in self._written(account, section, call, account.line == without):
                    made.setdefault(path, {}).update(flow)
        return made

    def _written(
        self, account: Account, section: Section, call: str, uncorrected: bool
    ) -> Iterator[tuple[str, Flow]]:
        names, command = section.names_of(call), account.command
        if command.kind == "clone":
            yield clone_target(command, names), {"": (account.stage, "")}
        elif command.kind == "script":
            asked = readme_command(account, names, section.cwd)
            changed = account.fixes("changed")
            for value in asked.flags.get("--output_dir", []):
                path = str(value)
                if "--output_dir" in changed and not uncorrected:
                    path = resolved(names, changed["--output_dir"][1])
                outputs = self.node(account, call).command.outputs.values()  # type: ignore[union-attr]
                below = {output.partition("/")[0] for output in outputs if "/" in output}
                if all("/" in output for output in outputs) and below:
                    yield normal(path), {part: (account.stage, part) for part in sorted(below)}
                else:
                    yield normal(path), {"": (account.stage, "")}
        elif command.argv[0] == "sed":
            yield directory_of(command, names), {"": (account.stage, "")}
        elif command.argv[0] == "cat":
            name = command.argv[command.argv.index(">") + 1]
            yield normal(name), {"": (account.stage, name)}


def _stage_and_path(source: str) -> tuple[str, str]:
    stage, _, path = source.partition("/")
    return stage, path


def clone_target(command: ReadmeCommand, names: Mapping[str, str]) -> str:
    """Return the directory that a ``git clone`` makes."""
    url, *target = command.argv[command.argv.index("clone") + 1 :]
    return normal(resolved(names, target[0] if target else posixpath.basename(url)))


def directory_of(command: ReadmeCommand, names: Mapping[str, str]) -> str:
    """Return the directory that a command stands in: that of a ``cd`` above it in its block."""
    moves = [
        other.argv[1]
        for other in COMMANDS
        if other.block == command.block and other.line < command.line and other.argv[0] == "cd"
    ]
    return normal(resolved(names, moves[-1])) if moves else "."


def lying_at(made: Mapping[str, Flow], path: str) -> Flow:
    """Return what lies at a path, and below it."""
    found: Flow = {}
    for other in sorted(made, key=len):
        for part, (stage, inner) in made[other].items():
            place = normal(posixpath.join(other, part))
            if place == path:
                found[""] = stage, inner
            elif place.startswith(f"{path}/"):
                found[place.removeprefix(f"{path}/")] = stage, inner
            elif path.startswith(f"{place}/"):
                found[""] = stage, posixpath.join(inner, path.removeprefix(f"{place}/"))
    return found


def fed_from(plan: Plan, node: Node, place: In) -> Flow:
    """Return what an input holds; a directory of links holds what they lead to."""
    source = plan[node.feeds[place.port]]
    if source.kind != "assemble":
        return {"": (source.id, place.path)}
    assert source.command is not None
    parts: Flow = {}
    for word in source.command.argv:
        if isinstance(word, Pair):
            assert isinstance(word.place, In)
            parts[word.prefix.removesuffix("=")] = source.feeds[word.place.port], word.place.path
    if not place.path:
        return parts
    return lying_at({part: {"": what} for part, what in parts.items()}, place.path)


def mismatches(book: Book, account: Account, call: str, without: int = 0) -> list[str]:
    """Return what differs between the README's command, as its account mends it, and ours."""
    section = sections()[account.section]
    names = section.names_of(call)
    plan, node = book.plan(account.section, call), book.node(account, call)
    if node.command is None:
        return [f"{account.stage} is skipped: {node.skip}"]
    asked, ours = readme_command(account, names, section.cwd), our_command(node)
    found = []
    for what in ("launcher", "tool", "program", "twice"):
        if (theirs := getattr(asked, what)) != (own := getattr(ours, what)):
            found.append(f"{what}: {theirs} is {own}")
    for flag, values in asked.unkeyed.items():
        usual = flags.defaults(asked.tool, TRTLLM).get(flag)
        if flag not in ours.unkeyed and values != [str(usual)]:
            found.append(f"{flag} is missing")
    found += _apply(account, asked, names)
    said, own_said = asked.said(), ours.said()
    made = book.flow(section, call, account.line, without)
    for flag in dict.fromkeys([*said, *own_said]):
        if flag not in said or flag not in own_said:
            which = "theirs alone" if flag in said else "ours alone"
            found.append(f"{flag} {said.get(flag, own_said.get(flag))} is {which}")
            continue
        if len(said[flag]) != len(own_said[flag]):
            found.append(f"{flag} {said[flag]} is {own_said[flag]}")
            continue
        for value, word in zip(said[flag], own_said[flag]):
            problem = _value(value, word, flag, plan, node, made)
            if problem:
                found.append(f"{flag} {value}: {problem}")
    return found


def _value(
    value: Any, word: Any, flag: str, plan: Plan, node: Node, made: Mapping[str, Flow]
) -> str | None:
    """Return how the README's value of a flag is not ours."""
    if isinstance(word, In):
        theirs, own = lying_at(made, normal(str(value))), fed_from(plan, node, word)
        return None if theirs == own else f"holds {theirs}, ours {own}"
    if isinstance(word, Local):
        if lying_at(made, normal(str(value))):
            return "is made by a command, ours is the user's"
        same = posixpath.basename(str(value)) == Path(word.path).name
        return None if same else f"is {word.path}"
    if isinstance(word, Out):
        return None if flag == "--output_dir" and not word.path else "is our output"
    assert not isinstance(word, Side)
    return None if value == word else f"is {word!r}"


def _apply(account: Account, asked: Spoken, names: Mapping[str, str]) -> Iterator[str]:
    """Change the README's flags as the account says; yield what is not there to be changed."""

    def put(value: Any) -> list[str]:
        return [resolved(names, text) for text in listed(value)]

    def fixes(kind: str) -> Iterator[tuple[str, Any]]:
        for flag, value in account.fixes(kind).items():
            yield next(iter(flags.parse([asked.program, flag], TRTLLM))), value

    usual = flags.defaults(asked.tool, TRTLLM)
    for flag, value in fixes("dropped"):
        if asked.flags.pop(flag, None) != put(value):
            yield f"{flag} {value} is not there to be dropped"
    for flag, value in fixes("added"):
        if flag in asked.flags or put(value) == [str(usual.get(flag))]:
            yield f"{flag} {value} is there"
        asked.flags[flag] = [*put(value)]
    for flag, (theirs, own) in fixes("changed"):
        if asked.flags.get(flag) != put(theirs) or theirs == own:
            yield f"{flag} {theirs} is not there to be changed"
        asked.flags[flag] = [*put(own)]
    for flag in account.differs.get("split", ()):
        texts = [str(value) for value in asked.flags.get(flag, [])]
        if len(texts) != 1 or "," not in texts[0]:
            yield f"{flag} {texts} is not there to be split"
        asked.flags[flag] = [part for text in texts for part in text.split(",")]
