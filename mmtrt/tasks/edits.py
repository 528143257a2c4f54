"""Replace text that must be there exactly once, and say what was found instead where it is not.

Edits are found by their text, never by line number: another revision of the file is then refused,
not damaged.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from pathlib import PurePosixPath

from mmtrt.tasks.links import relative_name
from mmtrt.tasks.messages import TaskError, quoted

EXAMPLE = '[{"file": "visual.py", "before": "old text", "after": "new text"}]'
CANDIDATES = 20
"""Regions compared in full after a quick look at all of them. Chosen."""


@dataclass(frozen=True)
class Edit:
    """Replace ``before``, which must occur exactly once in ``file``, by ``after``."""

    file: str
    before: str
    after: str
    before_sha256: str | None = None
    """Digest of the whole file as this edit finds it, after those listed earlier."""
    after_sha256: str | None = None
    """Digest of the whole file as this edit leaves it."""

    @property
    def path(self) -> PurePosixPath:
        """The file's path below the model's directory."""
        return relative_name(self.file)


def parse_edits(text: str) -> list[Edit]:
    """Read the edits from JSON.

    Raises:
        TaskError: ART109, for anything but a list of complete edits; ART104, for a file not
            below the model's directory.
    """
    try:
        items = json.loads(text)
    except ValueError as error:
        raise _unreadable(f"it is not JSON: {error}") from error
    if not isinstance(items, list) or not items:
        raise _unreadable("it is not a list, or an empty one")
    edits = [_parse_one(item, number) for number, item in enumerate(items, start=1)]
    for edit in edits:
        relative_name(edit.file)
    return edits


def by_file(edits: Sequence[Edit]) -> dict[PurePosixPath, list[Edit]]:
    """Group edits by file; those of one file keep their order."""
    ordered = sorted(edits, key=lambda edit: edit.path)
    return {path: list(group) for path, group in groupby(ordered, key=lambda edit: edit.path)}


def apply_edits(content: bytes, edits: Sequence[Edit]) -> bytes:
    """Return the content of one file after its edits, one after the other.

    Raises:
        TaskError: ART102, ART103 or ART108.
    """
    for edit in edits:
        content = _apply(content, edit)
    return content


def _apply(content: bytes, edit: Edit) -> bytes:
    name = f"`{quoted(edit.file)}`"
    digest = hashlib.sha256(content).hexdigest()
    text = _decode(content, name)
    if digest == edit.after_sha256 or _has_edit(text, edit):
        raise TaskError(
            f"{name} carries this edit already",
            code="ART108",
            why="its digest is the one after the edit"
            if digest == edit.after_sha256
            else "the new text is there and the old text is not, outside of it",
            fix="leave the patch stage out, or start from the original file",
        )
    if edit.before_sha256 and digest != edit.before_sha256:
        raise _other_file(name, "before", edit.before_sha256, digest)
    places = _places(text, edit.before)
    if not places:
        raise _not_found(text, edit, name)
    if len(places) > 1:
        lines = ", ".join(str(text.count("\n", 0, place) + 1) for place in places[:9])
        raise TaskError(
            f"the text to replace is {len(places)} times in {name}",
            code="ART102",
            why=f"it must be there exactly once; it begins on lines {lines}",
            blocks=[("expected once", edit.before)],
            fix="take more lines around it into `before`",
        )
    patched = (text[: places[0]] + edit.after + text[places[0] + len(edit.before) :]).encode()
    digest = hashlib.sha256(patched).hexdigest()
    if edit.after_sha256 and digest != edit.after_sha256:
        raise _other_file(name, "after", edit.after_sha256, digest)
    return patched


def _has_edit(text: str, edit: Edit) -> bool:
    """Return whether the new text is there, and the old text only as a part of it, if at all."""
    if not edit.after.strip() or edit.after in edit.before:
        return False  # what is left after lines are removed proves nothing
    spans = [(place, place + len(edit.after)) for place in _places(text, edit.after)]
    return bool(spans) and all(
        any(begin <= place and place + len(edit.before) <= end for begin, end in spans)
        for place in _places(text, edit.before)
    )


def _places(text: str, part: str) -> list[int]:
    places = []
    place = text.find(part)
    while place >= 0:
        places.append(place)
        place = text.find(part, place + 1)
    return places


def _not_found(text: str, edit: Edit, name: str) -> TaskError:
    if "\r\n" in text and edit.before in text.replace("\r\n", "\n"):
        why = "the file ends its lines with CR LF, and `before` with LF"
    else:
        why = "the file is of another revision than the one that the edit was written for"
    line, found = _nearest(text, edit.before)
    return TaskError(
        f"the text to replace is not in {name}",
        code="ART102",
        why=why,
        blocks=[
            ("expected", edit.before),
            (f"found, nearest, from line {line}" if found else "found nothing like it", found),
        ],
        fix="pin the revision that the edit was written for (model.revision), or renew `before` "
        "from this file",
    )


def _nearest(text: str, wanted: str) -> tuple[int, str]:
    """Return the number and the text of the lines that are most like those wanted."""
    lines = text.splitlines(keepends=True)
    height = max(1, len(wanted.splitlines()))
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted)
    quick = []
    for start in range(max(1, len(lines) - height + 1)):
        matcher.set_seq1("".join(lines[start : start + height]))
        quick.append((matcher.quick_ratio(), -start))
    best, best_ratio = 0, 0.0
    for _, negative in sorted(quick, reverse=True)[:CANDIDATES]:
        matcher.set_seq1("".join(lines[-negative : -negative + height]))
        if (ratio := matcher.ratio()) > best_ratio:
            best, best_ratio = -negative, ratio
    # Chosen: below this the region has little but letters in common with what was wanted.
    return (best + 1, "".join(lines[best : best + height])) if best_ratio > 0.4 else (0, "")


def _other_file(name: str, when: str, wanted: str, seen: str) -> TaskError:
    return TaskError(
        f"{name} is not the file that the edit was written for",
        code="ART103",
        why=f"its sha256 {when} the edit is {seen}, not {wanted}",
        fix="pin the revision that the edit was written for (model.revision); if you have read the "
        f"new file, renew {when}_sha256",
    )


def _decode(content: bytes, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise TaskError(
            f"{name} is not UTF-8 text",
            code="ART103",
            why=f"byte {error.start} does not fit",
            fix="only text files can be patched",
        ) from error


def _parse_one(item: object, number: int) -> Edit:
    names = {field.name for field in fields(Edit)}
    if not isinstance(item, dict):
        raise _unreadable(f"edit {number} is not an object")
    if unknown := sorted(set(item) - names):
        raise _unreadable(f"edit {number} has the unknown key `{quoted(unknown[0])}`")
    if missing := [name for name in ("file", "before", "after") if name not in item]:
        raise _unreadable(f"edit {number} lacks `{missing[0]}`")
    for name, value in item.items():
        if not isinstance(value, str) and not (value is None and name.endswith("_sha256")):
            raise _unreadable(f"`{name}` of edit {number} is not text")
    edit = Edit(**item)
    if not edit.before or edit.before == edit.after:
        raise _unreadable(f"edit {number} changes nothing: `before` is empty, or equals `after`")
    return edit


def _unreadable(why: str) -> TaskError:
    return TaskError(
        "the list of edits cannot be understood",
        code="ART109",
        why=why,
        fix=f"write recipe.stages.patch.edits like {EXAMPLE}",
    )
