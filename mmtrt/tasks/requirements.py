"""Requirements as they are asked for, and as they are pinned."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrt.tasks.messages import TaskError, quoted


@dataclass(frozen=True)
class Pin:
    """One package in exactly one version."""

    name: str
    """Lower case, with dashes."""
    version: str
    url: str | None
    """Where it comes from, if a requirement names that place itself."""
    sha256: str | None

    @property
    def line(self) -> str:
        """The pin as a line of a requirements file."""
        what = f"{self.name}=={self.version}" if self.url is None else f"{self.name} @ {self.url}"
        return f"{what} --hash=sha256:{self.sha256}" if self.sha256 else what


def parse_pin(line: str) -> Pin:
    """Read what :attr:`Pin.line` wrote.

    Raises:
        ValueError: if it is something else.
    """
    what, _, sha256 = line.partition(" --hash=sha256:")
    found = re.fullmatch(r"([A-Za-z0-9._-]+)(?:==(\S+)| @ (\S+))", what)
    if found is None or (sha256 and not re.fullmatch(r"[0-9a-f]{64}", sha256)):
        raise ValueError(f"{line!r} does not read like transformers==4.45.2")
    return Pin(canonical(found[1]), found[2] or "", found[3], sha256 or None)


def read_files(files: Sequence[Path]) -> list[str]:
    """Return the lines of requirements files, those that they include among them, no comments.

    Paths that pip reads relative to the file become absolute.

    Raises:
        TaskError: ART113, for an editable requirement or files that include each other.
    """
    return [line for path in files for line in _read(path, ())]


def options(lines: Sequence[str]) -> list[str]:
    """Return the lines that say where packages come from, and not which."""
    dropped = r"(-c|--constraint|-r|--requirement|--require-hashes)\b"
    return [line for line in lines if line.startswith("-") and not re.match(dropped, line)]


def parse_report(report: Mapping[str, Any]) -> list[Pin]:
    """Return what pip would install, sorted.

    Source: https://pip.pypa.io/en/stable/reference/installation-report/, version 1.
    """
    return sorted((_pin(item) for item in report["install"]), key=lambda pin: pin.name)


def canonical(name: str) -> str:
    """Return the one spelling of a package's name. Source: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _pin(item: Mapping[str, Any]) -> Pin:
    origin = item["download_info"]
    hashes = origin.get("archive_info", {}).get("hashes", {})
    url = None
    if item.get("is_direct"):
        url = origin["url"]
        if vcs := origin.get("vcs_info"):
            url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
        if folder := origin.get("subdirectory"):
            url += f"#subdirectory={folder}"
    metadata = item["metadata"]
    return Pin(canonical(metadata["name"]), metadata["version"], url, hashes.get("sha256"))


def _read(path: Path, above: tuple[Path, ...]) -> list[str]:
    if path.resolve() in above:
        raise TaskError(
            f"the requirements file `{quoted(str(path))}` includes itself",
            code="ART113",
            fix="remove one of the `-r` lines",
        )
    text = path.read_text(encoding="utf-8-sig").replace("\\\n", "")
    lines = []
    for raw in text.splitlines():
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        flag, value = _split(line)
        if flag in ("-e", "--editable"):
            raise TaskError(
                f"`{quoted(line)}` in `{quoted(str(path))}` cannot be pinned",
                code="ART113",
                why="an editable package changes whenever its sources do",
                fix="leave out -e, or name a version",
            )
        beside = path.parent / value
        if flag in ("-r", "--requirement") and "://" not in value:
            lines += _read(beside, (*above, path.resolve()))
        elif flag in ("-c", "--constraint", "-f", "--find-links") and beside.exists():
            lines.append(f"{flag} {beside.resolve()}")
        elif line:
            lines.append(line)
    return lines


def _split(line: str) -> tuple[str, str]:
    """Return an option and its value, which may be glued to a short one; or two empty texts."""
    found = re.match(r"(--[\w-]+|-\w)(?:\s*=\s*|\s*)(.*)", line)
    return (found[1], found[2]) if found else ("", "")
