"""The file ``mmtrt.lock``: entries by ``recipe/variant``, sorted, one fact a line.

YAML, as the recipes are: the library that reads them is there, one that writes TOML is not. Rows of
files are flow mappings, so that a file is a line.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmtrt.artifacts.atomic import write_text
from mmtrt.artifacts.locks import KeyLock
from mmtrt.config import typed
from mmtrt.errors import LockStale
from mmtrt.pins.entry import Entry

NAME = "mmtrt.lock"
SCHEMA = 1
"""Raised when an older mmtrt could misread a lock."""

HEAD = (
    "# Written by `mmtrt lock`. Change it with `mmtrt lock`, and keep it under version control.\n"
)
WAIT_S = 60.0
"""For another `mmtrt lock` that writes the same file; writing takes milliseconds."""


@dataclass(frozen=True)
class Document:
    """A lock file as it is read."""

    schema: int
    entries: dict[str, Entry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LockFile:
    """Where a lock lies."""

    path: Path

    @property
    def title(self) -> str:
        """The path as messages name it."""
        return str(self.path)

    def read(self) -> dict[str, Entry]:
        """Return the entries; none if there is no file.

        Raises:
            LockStale: LCK103, if the file cannot be understood.
        """
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise self._garbled(f"it cannot be read: {error}") from error
        return self._parsed(text)

    def update(self, change: Callable[[dict[str, Entry]], Mapping[str, Entry]]) -> bool:
        """Replace the entries by what ``change`` makes of them; return whether the file changed.

        Other processes wait meanwhile, so that none of their entries is lost. A kill at any moment
        leaves the old file or the new one.

        Raises:
            LockStale: LCK103, if the old file cannot be understood; LCK105, if another process
                does not finish.
            ArtifactError: ART15x, if the file cannot be written.
        """
        held = KeyLock(self.path.with_name(f".{self.path.name}.held"))
        if not held.acquire(WAIT_S):
            raise LockStale(
                f"another process has been writing {self.title} for a minute",
                code="LCK105",
                why=f"process {(held.holder() or {}).get('pid')} holds it",
                fix="wait for it, or end it",
            )
        try:
            old = self.read()
            text = lock_text(change(dict(old)))
            if self.path.exists() and text == lock_text(old):
                return False
            write_text(self.path, text)
            return True
        finally:
            held.release()

    def _parsed(self, text: str) -> dict[str, Entry]:
        if re.search(r"^(<{7}|={7}|>{7})", text, re.MULTILINE):
            raise self._garbled("it holds the marks of a merge that git could not do")
        import yaml

        try:
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
            data = yaml.load(text, loader)
        except (yaml.YAMLError, RecursionError) as error:
            raise self._garbled(f"it is no YAML: {' '.join(str(error).split())}") from error
        schema = data.get("schema") if isinstance(data, dict) else None
        if isinstance(schema, int) and schema > SCHEMA:
            raise LockStale(
                f"{self.title} has schema {schema}, this mmtrt reads up to {SCHEMA}",
                code="LCK103",
                why="a newer mmtrt wrote it",
                fix="use that mmtrt",
            )
        document, problems = typed.read(Document, data)
        if document is None or document.schema != SCHEMA:
            rows = [f"{typed.dotted(each.path)} {each.message}".strip() for each in problems]
            raise self._garbled("; ".join(rows[:5]) or f"its schema is {schema}")
        return document.entries

    def _garbled(self, why: str) -> LockStale:
        return LockStale(
            f"{self.title} cannot be used",
            code="LCK103",
            why=why,
            fix="take it from version control, or remove it and run mmtrt lock for each recipe",
        )


def entry_from(plain: Any) -> Entry:
    """Return the entry that :meth:`Entry.to_plain` was made of.

    Raises:
        LockStale: LCK103, if it is none.
    """
    entry, problems = typed.read(Entry, plain)
    if entry is None:
        first = problems[0]
        raise LockStale(
            "the pins cannot be understood",
            code="LCK103",
            why=f"{typed.dotted(first.path)} {first.message}",
        )
    return entry


def lock_text(entries: Mapping[str, Entry]) -> str:
    """Return the text of a lock file with these entries, ``recipe/variant`` -> entry."""
    import yaml

    class Row(dict[str, Any]):
        """A mapping that stays on one line."""

    class Dumper(yaml.SafeDumper):
        """Lists are indented below their key, which keeps diffs small and merges possible."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, False)

    Dumper.add_representer(
        Row, lambda dumper, row: dumper.represent_mapping(_MAP, row, flow_style=True)
    )

    def ordered(value: Any, is_row: bool = False) -> Any:
        if isinstance(value, dict):
            plain = {name: ordered(each) for name, each in sorted(value.items())}
            return Row(plain) if is_row else plain
        if isinstance(value, list):
            return [ordered(each, is_row=True) for each in value]
        return value

    blocks = []
    for name in sorted(entries):
        plain = entries[name].to_plain()
        body = {f.name: plain[f.name] for f in dataclasses.fields(Entry) if f.name in plain}
        block = {name: {key: ordered(value) for key, value in body.items()}}
        blocks.append(
            yaml.dump(
                block,
                Dumper=Dumper,
                sort_keys=False,
                default_flow_style=False,
                allow_unicode=False,  # with it, U+0085 does not come back
                width=1 << 30,
            )
        )
    head = f"{HEAD}schema: {SCHEMA}\nentries:"
    rows = "\n".join(
        "".join(f"  {line}\n" for line in block.rstrip("\n").split("\n")) for block in blocks
    )
    return f"{head}\n{rows}" if blocks else f"{head} {{}}\n"


_MAP = "tag:yaml.org,2002:map"
