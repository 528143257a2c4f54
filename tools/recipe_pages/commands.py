"""A recipe's graphs and commands in Markdown."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from mmtrt.backends.base import Command, Pair, Unkeyed, Word, symbol
from mmtrt.export.graph import to_mermaid
from mmtrt.plan.graph import Node, Plan
from mmtrt.report import markdown as md
from mmtrt.stages import Patch
from tools.recipe_pages.plans import Subject, plan_of

WIDTH = 88
"""Longest command that stays on one line."""


@dataclass(frozen=True, slots=True)
class Graph:
    """One shape of a recipe's plan, and the variants that have it."""

    variants: tuple[str, ...]
    plan: Plan
    picture: str
    """Mermaid."""

    @property
    def backend(self) -> str:
        """The backend that it is shown on."""
        return self.plan.choice.backend.name


def graphs(subject: Subject) -> list[Graph]:
    """Return each shape once; the default variant's comes first, as its launch line has it."""
    default = subject.file.default_variant
    plans = {default: subject.launched()}
    plans |= {
        name: plan_of(subject.recipe(name)) for name in subject.file.variants if name != default
    }
    found: dict[tuple[str, str], Graph] = {}
    for name, plan in plans.items():
        key = plan.choice.backend.name, to_mermaid(plan)
        first = found.get(key)
        members = (*first.variants, name) if first else (name,)
        found[key] = Graph(members, first.plan if first else plan, key[1])
    return list(found.values())


def stages_section(shapes: Sequence[Graph]) -> str:
    """Return the pictures; dashed boxes are skipped."""
    parts = ["## Stages"]
    if any(node.command is None for shape in shapes for node in shape.plan.nodes):
        parts.append("Dashed stages are skipped unless they are asked for.")
    for shape in shapes:
        if len(shapes) > 1:
            parts.append(f"{_whose(shape)}:")
        parts.append(md.fenced(shape.picture, "mermaid"))
    return "\n\n".join(parts)


def commands_section(subject: Subject, shapes: Sequence[Graph]) -> str:
    """Return every command of the first graph, and what the others have instead."""
    first, *others = shapes
    shown = md.code(shlex.join(("mmtrt", "plan", *subject.launch_words, "-v")))
    parts = [
        "## Commands",
        f"What {shown} shows, with symbols in the place of paths: `{{in.x}}` is the output of the "
        "stage that feeds input `x`, `{out}` is the stage's own output. " + _legend(shapes),
        *_blocks(first.plan.active()),
    ]
    known = {node.id: _shell(node.command) for node in first.plan.active() if node.command}
    for shape in others:
        new = [
            node
            for node in shape.plan.active()
            if node.command is not None and _shell(node.command) != known.get(node.id)
        ]
        same = [node.id for node in shape.plan.active() if node not in new]
        rest = f"As above: {md.codes(same)}." if same else ""
        parts += [
            f"<details>\n<summary>{_whose(shape, html=True)}</summary>",
            *_blocks(new),
            *filter(None, [rest]),
            "</details>",
        ]
    return "\n\n".join(parts)


def _whose(shape: Graph, *, html: bool = False) -> str:
    names = ", ".join(f"<code>{name}</code>" if html else md.code(name) for name in shape.variants)
    several = "s" if len(shape.variants) > 1 else ""
    return f"Variant{several} {names}, backend {shape.backend}"


def _legend(shapes: Sequence[Graph]) -> str:
    """Return what the other symbols stand for."""
    commands = [node.command for shape in shapes for node in shape.plan.active()]
    words = " ".join(_shell(command) for command in commands if command)
    meanings = {
        "{python}": "mmtrt's own interpreter",
        "{examples}": "TensorRT-LLM's `examples` directory",
        "{side}": "a directory for what tools keep from build to build",
        "{local.": "a file or directory on this machine",
    }
    told = [
        f"`{mark}NAME}}` is {what}" if mark.endswith(".") else f"`{mark}` is {what}"
        for mark, what in meanings.items()
        if mark in words
    ]
    if not told:
        return ""
    *most, last = told
    return (f"{', '.join(most)} and {last}" if most else last) + "."


def _blocks(nodes: Sequence[Node]) -> list[str]:
    blocks = []
    for node in nodes:
        assert node.command is not None
        kind = "" if node.id == node.kind else f" ({node.kind})"
        notes = [
            f"{md.code(port)} from {md.code(node.feeds[port])}" for port in node.command.ports()
        ]
        reads = f" reads {', '.join(notes)}" if notes else ""
        cwd = f", runs in `{symbol(node.command.cwd)}`" if node.command.cwd else ""
        blocks.append(f"**{md.code(node.id)}**{kind}{reads}{cwd}:")
        blocks.append(md.fenced(_shell(node.command), "sh"))
        if isinstance(node.stage, Patch):
            blocks.append(md.fenced(_difference(node.stage), "diff"))
    return blocks


def _difference(stage: Patch) -> str:
    """Return the edits as people read them."""
    lines = []
    for edit in stage.edits:
        lines.append(f"@@ {edit.file} @@")
        lines += [f"-{line}" for line in edit.before.splitlines()]
        lines += [f"+{line}" for line in edit.after.splitlines()]
    return "\n".join(lines)


def _shell(command: Command) -> str:
    """Return a command as people type it, a long one with each flag on a line of its own."""
    variables = [f"{name}={shlex.quote(value)}" for name, value in command.env.items()]
    words = [*variables, *(_word(word) for word in command.argv)]
    if len(" ".join(words)) <= WIDTH:
        return " ".join(words)
    lines: list[str] = []
    previous = ""
    for word in words:
        # ``--`` alone belongs to the tool that follows it.
        if not lines or (word.lstrip("'").startswith("--") and previous != "--"):
            lines.append(word if not lines else f"    {word}")
        elif len(lines[-1]) + len(word) > WIDTH and not previous.startswith("--"):
            lines.append(f"        {word}")
        else:
            lines[-1] += f" {word}"
        previous = word
    return " \\\n".join(lines)


def _word(word: Word) -> str:
    """Return one word, quoted where a shell needs it; symbols are no literal text."""
    if isinstance(word, str):
        return shlex.quote(word)
    if isinstance(word, Unkeyed) and isinstance(word.word, str):
        return shlex.quote(word.word)
    if isinstance(word, Pair):
        return shlex.quote(word.prefix) + _quoted(symbol(word.place))
    return _quoted(symbol(word))


def _quoted(written: str) -> str:
    return written if re.fullmatch(r"[\w@%+=:./{}-]+", written, re.ASCII) else shlex.quote(written)
