"""Tables on standard output: rich on a terminal, plain aligned text everywhere else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, TextIO

from mmtrt.report.colors import wants_color

GAP = "  "


def write_table(
    stream: TextIO, columns: Sequence[str], rows: Sequence[Sequence[str]], right: str = ""
) -> None:
    """Write a table to ``stream``.

    Args:
        stream: where to; a terminal gets a table that folds to its width.
        columns: the headings.
        rows: one text a column.
        right: headings of the columns to align at the right, separated by blanks.
    """
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        _write_rich(stream, columns, rows, right.split())
    else:
        stream.write(plain(columns, rows, right))


def plain(columns: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> str:
    """Return a table as aligned text, one line a row, no trailing blanks."""
    cells = [[_one_line(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    to_right = [column in right.split() for column in columns]
    lines = [
        GAP.join(
            cell.rjust(width) if at_right else cell.ljust(width)
            for cell, width, at_right in zip(row, widths, to_right)
        ).rstrip()
        for row in cells
    ]
    return "\n".join(lines) + "\n"


def _write_rich(
    stream: TextIO, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]
) -> None:
    # Slow to import, and of use on a terminal only.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=column == columns[0],
        )
    for row in rows:
        # Text, not str: a square bracket in a path is no markup.
        table.add_row(*(Text(_one_line(cell)) for cell in row))
    color_system: Literal["auto"] | None = "auto" if wants_color(stream) else None
    Console(file=stream, highlight=False, color_system=color_system).print(table)


def _one_line(text: str) -> str:
    return " ".join(text.split("\n")) if "\n" in text else text
