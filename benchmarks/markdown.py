"""Sections as Markdown, put between two markers of a document that people write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.rows import Section

BEGIN = "<!-- benchmarks:begin (written by python -m benchmarks.all --write) -->"
END = "<!-- benchmarks:end -->"
COLUMNS = ("what", "measured: median (range)", "beside (times ours)", "goal", "verdict")


def to_markdown(facts: Sequence[tuple[str, str]], sections: Iterable[Section]) -> str:
    """Return what stands between the markers.

    Args:
        facts: about the machine and the tools, as (name, value).
        sections: what was measured.
    """
    parts = [table(("", "measured on"), facts)]
    for section in sections:
        parts.append(f"### {section.title}")
        cells = [
            (row.what, row.measured, row.beside, row.goal, row.verdict) for row in section.rows
        ]
        parts.append(table(COLUMNS, cells))
        parts += section.notes
        if section.commands:
            parts.append("\n".join(["```", *section.commands, "```"]))
    return "\n\n".join(parts) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; bars in cells are escaped, line breaks become spaces."""
    lines = [list(columns), ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def put_between(document: str, text: str) -> str:
    """Replace what stands between the markers.

    Raises:
        ValueError: if a marker is missing, there twice, or in the wrong order.
    """
    if document.count(BEGIN) != 1 or document.count(END) != 1:
        raise ValueError(f"the document needs the lines {BEGIN} and {END}, once each")
    before, _, rest = document.partition(BEGIN)
    if END not in rest:
        raise ValueError(f"{END} stands before {BEGIN}")
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}"


def require_portable(text: str, places: Iterable[Path]) -> None:
    """Refuse a text that tells where this machine keeps its files.

    Raises:
        ValueError: naming the place.
    """
    for place in places:
        if str(place) != "/" and str(place) in text:
            raise ValueError(f"the results mention {place}, a path of this machine")


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())
