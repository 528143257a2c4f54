"""GitHub's Markdown: text that says what it says, code, tables, fenced blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_MARKS = re.compile(r"[\\`*<\[\]~|]|(?<!\w)_|_(?!\w)")
"""What would be read as markup; an underscore inside a word never is."""


def text(plain: str) -> str:
    """Return plain text so that nothing of it is taken for markup, on one line."""
    return _MARKS.sub(r"\\\g<0>", " ".join(plain.split()))


def code(plain: str) -> str:
    """Return a code span; backslashes stay what they are, backquotes and outer blanks too."""
    one_line = plain.replace("\n", " ")
    runs = [len(run) for run in re.findall("`+", one_line)]
    ticks = "`" * next(n for n in range(1, len(runs) + 2) if n not in runs)
    # One blank at both ends is taken off again (CommonMark, "Code spans").
    padded = "`" in one_line or (one_line.startswith(" ") and one_line.endswith(" "))
    blank = " " if padded and one_line.strip() else ""
    return f"{ticks}{blank}{one_line}{blank}{ticks}"


def codes(names: Iterable[str]) -> str:
    """Return names as code, separated by commas."""
    return ", ".join(code(name) for name in names)


def link(label: str, target: str) -> str:
    """Return a link; the label is Markdown already."""
    return f"[{label}]({target})"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> str:
    """Return a table.

    Args:
        columns: the headings.
        rows: one cell a column, Markdown already; an empty one becomes a dash.
        right: headings of the columns to align at the right.
    """
    rules = ["--:" if column in right else "---" for column in columns]
    lines = [_row(columns), "|" + "|".join(rules) + "|"]
    lines += [_row([cell or "-" for cell in row]) for row in rows]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(markdown: str) -> str:
    """Return Markdown that ends no cell: a pipe does so even inside code."""
    return re.sub(r"(?<!\\)\|", r"\\|", markdown.replace("\n", " "))


def fenced(content: str, language: str = "") -> str:
    """Return a block of code whose fence is longer than any run of backquotes in it."""
    longest = max((len(run) for run in re.findall("`+", content)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{content.rstrip()}\n{fence}"
