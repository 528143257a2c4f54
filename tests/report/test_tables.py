from __future__ import annotations

import io

from mmtrt.report.tables import plain, write_table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_columns_align_and_lines_have_no_trailing_blanks():
    text = plain(("NAME", "SIZE"), [("a", "1 B"), ("longer", "10 MiB")], right="SIZE")
    assert text == "NAME      SIZE\na          1 B\nlonger  10 MiB\n"


def test_no_rows_leave_the_headings():
    assert plain(("NAME", "SIZE"), []) == "NAME  SIZE\n"


def test_a_cell_stays_on_its_line():
    assert plain(("X", "Y"), [("a\nb", "c")]) == "X    Y\na b  c\n"


def test_a_pipe_gets_plain_text():
    stream = io.StringIO()
    write_table(stream, ("X",), [("[bold]",)])
    assert stream.getvalue() == "X\n[bold]\n"


def test_a_terminal_gets_rich_text_without_markup(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    write_table(stream, ("X", "TEXT"), [("[bold]", "a word " * 20)])
    text = stream.getvalue()
    assert "[bold]" in text
    assert max(map(len, text.splitlines())) <= 60
    assert "\x1b" not in text


def test_a_dumb_terminal_gets_plain_text(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    write_table(stream, ("X",), [("a",)])
    assert stream.getvalue() == "X\na\n"
