"""A small Python program that changes text of files, each of which must look as expected."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mmtrt.stages import Edit

_DIGESTS = ("before_sha256", "after_sha256")

_LOOP = """\
for edit in EDITS:
    path = pathlib.Path(sys.argv[1], edit["file"])
    content, mode = path.read_bytes(), path.stat().st_mode
    before, after = edit["before"].encode(), edit["after"].encode()
    if before not in content or content.find(before) != content.rfind(before):
        sys.exit(f"{edit['file']} must have this text exactly once:\\n{edit['before']}")
    changed = content.replace(before, after)
"""

_CHECK = """\
    for key, seen in (("before_sha256", content), ("after_sha256", changed)):
        if key in edit and edit[key] != hashlib.sha256(seen).hexdigest():
            sys.exit(f"{edit['file']} is another file than the edit is for: its {key} differs")
"""

_REPLACE = """\
    path.unlink()  # a link to the original, which stays as it is
    path.write_bytes(changed)
    path.chmod(mode)
"""


def program(edits: Sequence[Edit]) -> str:
    """Return the program; its argument is the directory, a copy by links."""
    has_digests = any(getattr(edit, key) for edit in edits for key in _DIGESTS)
    lines = [f"import {'hashlib, ' if has_digests else ''}pathlib, sys", "", "EDITS = ["]
    for edit in edits:
        lines += ["    {", f'        "file": {literal(edit.file)},']
        for key in ("before", "after"):
            lines += [f'        "{key}":', *_by_line(getattr(edit, key))]
        digests = {key: getattr(edit, key) for key in _DIGESTS}
        lines += [f'        "{key}": "{digest}",' for key, digest in digests.items() if digest]
        lines.append("    },")
    return "\n".join([*lines, "]", "", _LOOP + (_CHECK if has_digests else "") + _REPLACE])


def literal(value: str | Sequence[str]) -> str:
    """Return Python's notation of a text or of several; JSON's, as all quotes are then alike."""
    return json.dumps(value, ensure_ascii=False)


def _by_line(text: str) -> list[str]:
    """Return a Python string, a line of the text on each line."""
    parts = [f"            {literal(part)}" for part in text.splitlines(keepends=True) or [""]]
    return [*parts[:-1], parts[-1] + ","]
