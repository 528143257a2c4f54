"""Sections as Markdown, put between two markers of a document that people write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.rows import Section

BEGIN = "<!-- benchmarks:begin (written by python -m benchmarks.all --write) -->"
END = "<!-- benchmarks:end -->"
APART = ("date", "processor")
"""What is told of the machine of a section that was measured without the others."""
COLUMNS = ("what", "measured: median (range)", "beside (times ours)", "goal", "verdict")


def to_markdown(facts: Sequence[tuple[str, str]], sections: Iterable[Section]) -> str:
    """Return what stands between the markers.

    Args:
        facts: about the machine and the tools, as (name, value).
        sections: what was measured.
    """
    parts = [table(("", "measured on"), facts), *map(_section, sections)]
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> str:
    cells = [(row.what, row.measured, row.beside, row.goal, row.verdict) for row in section.rows]
    parts = [f"### {section.title}", table(COLUMNS, cells), *section.notes]
    if section.commands:
        parts.append("\n".join(["```", *section.commands, "```"]))
    return "\n\n".join(parts)


def put_section(document: str, section: Section, facts: Sequence[tuple[str, str]]) -> str:
    """Replace one section between the markers, or append it; the others stay as they are.

    Raises:
        ValueError: if a marker is missing.
    """
    before, _, rest = document.partition(f"{BEGIN}\n\n")
    inside, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"the document needs the lines {BEGIN} and {END}, once each")
    told = "; ".join(f"{name} {value}" for name, value in facts if name in APART)
    text = f"{_section(section)}\n\nMeasured apart from the others: {told}."
    head, title, tail = inside.partition(f"### {section.title}\n")
    following = tail.find("\n### ")
    others = tail[following + 1 :] if title and following >= 0 else ""
    parts = [head.strip(), text, others.strip()]
    joined = "\n\n".join(part for part in parts if part)
    return f"{before}{BEGIN}\n\n{joined}\n\n{END}{after}"


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
