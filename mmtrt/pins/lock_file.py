"""The file ``mmtrt.lock``, which is whole at any moment and which several processes may write."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from mmtrt.artifacts.atomic import write_text
from mmtrt.artifacts.locks import KeyLock
from mmtrt.config import typed
from mmtrt.errors import LockStale
from mmtrt.pins.entry import Entry
from mmtrt.pins.lock_text import OLDEST, SCHEMA, entries_from, lock_text

NAME = "mmtrt.lock"
WAIT_S = 60.0
"""For another `mmtrt lock` that writes the same file; writing takes milliseconds."""


Entries: TypeAlias = dict[str, tuple[Entry, ...]]
"""``recipe/variant`` -> its entries, one as long as no two of its pins contradict each other."""


@dataclass(frozen=True, slots=True)
class LockFile:
    """Where a lock lies."""

    path: Path

    @property
    def title(self) -> str:
        """The path as messages name it."""
        return str(self.path)

    def read(self) -> Entries:
        """Return the entries; none if there is no file.

        A file of schema 1 is read; the next `mmtrt lock` that changes something writes a new one.

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

    def update(self, change: Callable[[Entries], Mapping[str, Sequence[Entry]]]) -> bool:
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

    def _parsed(self, text: str) -> Entries:
        if re.search(r"^(<{7}|={7}|>{7})", text, re.MULTILINE):
            raise self._garbled("it holds the marks of a merge that git could not do")
        import yaml

        class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # one of two classes
            """Takes nothing twice, as who puts two branches together by hand may leave it."""

            def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
                keys = [key.value for key, _ in node.value]
                for key in keys:
                    if keys.count(key) > 1:
                        where = node.start_mark
                        raise yaml.constructor.ConstructorError(None, None, f"{key} twice", where)
                found: dict[Any, Any] = super().construct_mapping(node, deep)
                return found

        try:
            data = yaml.load(text, Loader)
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
        if not isinstance(schema, int) or schema < OLDEST:
            raise self._garbled("it has no schema" if schema is None else f"its schema is {schema}")
        entries, wrong = entries_from(data)
        if wrong:
            raise self._garbled("; ".join(wrong[:5]))
        return entries

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
