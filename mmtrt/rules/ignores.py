"""Findings that a comment in a YAML file silences, and comments that do not do what they say.

``# mmtrt: ignore[SIZ101] reason`` on the line of a value, or alone on the line above it, silences
that finding there. What an override sets has no line, so nothing silences it. Files are read only
if a finding points into them, and only those that hold such a comment are parsed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmtrt.config.overrides import key_of
from mmtrt.errors import RecipeError
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.codes import RETIRED, RULES

NEVER = ("HST", "SEC")
"""Areas that no comment silences: what this machine lacks, and what may execute foreign code."""
ELSEWHERE = ("ENG", "ENV", "HST")
"""Areas whose findings come and go with the machine and the backend: a comment may be needed on
another one."""
CHOICES = frozenset({"recipe", "variant"})
"""Overrides that take a file as it stands. With any other, a comment may be needed without it."""

REASON_MISSING = "CFG130"
UNKNOWN_CODE = "CFG131"
SILENCES_NOTHING = "CFG132"
NEVER_SILENCED = "CFG133"

_COMMENT = re.compile(r"#[ \t]*mmtrt:[ \t]*ignore\b[ \t]*(?:\[([^\]\n#]*)\])?([^\n]*)")
_MARK = b"mmtrt:"
_EXAMPLE = "# mmtrt: ignore[SIZ101] <why it is fine here>"


@dataclass(frozen=True, slots=True)
class Silenced:
    """A finding that a comment silences."""

    finding: Finding
    reason: str

    def to_json(self) -> dict[str, str]:
        """Return the finding with the reason, for ``mmtrt check --json``."""
        return {**self.finding.to_json(), "silenced": self.reason}


@dataclass(frozen=True, slots=True)
class Comment:
    """One comment that silences."""

    line: int
    """Counted from 1, as ``column``."""
    column: int
    target: int
    """Line of the value that it is about, if not this one."""
    codes: tuple[str, ...]
    reason: str

    def covers(self, code: str, line: int) -> bool:
        """Tell whether it is about this finding at this line."""
        return code in self.codes and line in (self.line, self.target)


class AboutComment(Finding):
    """A finding about a comment; no page of ``mmtrt rule`` says more."""

    def render(self) -> str:
        """Return the finding as the lines a terminal shows."""
        return Finding.render(self).rpartition("\n  more:")[0]


def sift(plan: Plan, findings: Sequence[Finding]) -> tuple[list[Finding], list[Silenced]]:
    """Return what stays, with findings about comments, and what comments silence."""
    stays: list[Finding] = []
    silenced: list[Silenced] = []
    files: dict[str, list[Comment]] = {}
    used: set[tuple[str, int, str]] = set()
    for finding in findings:
        name, line = place(finding.at)
        if name is not None and name not in files:
            files[name] = comments(Path(name))
        comment = _about(finding, line, files[name]) if name is not None else None
        if name is None or comment is None:
            stays.append(finding)
            continue
        used.add((name, comment.line, finding.code))
        if comment.reason:
            silenced.append(Silenced(finding, comment.reason))
        else:
            stays.append(finding)
    for name, found in files.items():
        for comment in found:
            stays += _mistakes(plan, name, comment, used)
    return stays, silenced


def place(at: str) -> tuple[str | None, int]:
    """Return file and line of a finding; ``None`` where it points to no file."""
    found = re.fullmatch(r"(.+):(\d+):(\d+)", at)
    return (None, 0) if found is None or at.startswith("override ") else (found[1], int(found[2]))


def comments(path: Path) -> list[Comment]:
    """Return the comments of a YAML file; those inside of texts are none."""
    try:
        if _MARK not in path.read_bytes():
            return []
        from mmtrt.config.yaml_file import read

        document = read(path, is_strict=False)
    except (OSError, RecipeError):  # it was read a moment ago
        return []
    lines = document.text.split("\n")
    texts = list(_texts(document.root))
    found = []
    for number, line in enumerate(lines):
        for each in _COMMENT.finditer(line):
            spot = (number, each.start())
            if each.start() and line[each.start() - 1] not in " \t":
                continue  # part of a plain text: a#b
            if any(begin <= spot < end for begin, end in texts):
                continue
            codes = tuple(code.strip() for code in (each[1] or "").split(",") if code.strip())
            target = _target(lines, number, line[: each.start()])
            found.append(Comment(number + 1, each.start() + 1, target + 1, codes, each[2].strip()))
            break
    return found


def _texts(root: object) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield begin and end, as (line, column), of every scalar."""
    import yaml

    pending, seen = [root], set()
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            start, end = node.start_mark, node.end_mark
            yield (start.line, start.column), (end.line, end.column)
        elif isinstance(node, yaml.SequenceNode):
            pending += node.value
        elif isinstance(node, yaml.MappingNode):
            pending += [part for pair in node.value for part in pair]


def _target(lines: Sequence[str], number: int, before: str) -> int:
    """Return the line that a comment is about, counted from 0.

    That is its own; the next one with a value where the comment stands alone, or behind a key
    whose value begins further down.
    """
    code = before.strip()
    if code and not code.endswith(":"):
        return number
    for after in range(number + 1, len(lines)):
        if lines[after].strip() and not lines[after].lstrip().startswith("#"):
            return after
    return number


def _about(finding: Finding, line: int, found: Sequence[Comment]) -> Comment | None:
    if finding.code.startswith(NEVER):
        return None
    return next((comment for comment in found if comment.covers(finding.code, line)), None)


def _mistakes(
    plan: Plan, name: str, comment: Comment, used: set[tuple[str, int, str]]
) -> Iterator[Finding]:
    """Yield what is wrong with one comment."""
    at = f"{name}:{comment.line}:{comment.column}"
    if not comment.codes or not comment.reason:
        missing = "reason" if comment.codes else "code"
        yield _finding(
            REASON_MISSING,
            f"this comment silences nothing: it has no {missing}",
            at,
            "who reads it later must be able to tell what was accepted, and why",
            f"write {_EXAMPLE}"
            if not comment.codes
            else f"write # mmtrt: ignore[{', '.join(comment.codes)}] <why it is fine here>",
        )
    for code in comment.codes:
        if code not in RULES:
            near = difflib.get_close_matches(code.upper(), RULES, 1, 0.6)
            fix = f"write {near[0]}" if near else "mmtrt rule   # lists the codes"
            was = f"it is no longer used: {RETIRED[code]}" if code in RETIRED else "no rule has it"
            yield _finding(UNKNOWN_CODE, f"there is no rule {code}", at, was, fix)
        elif code.startswith(NEVER):
            yield _finding(
                NEVER_SILENCED,
                f"{code} cannot be silenced",
                at,
                "it tells what this machine lacks"
                if code.startswith("HST")
                else "it tells what may execute foreign code",
                f"take {code} out of the comment",
            )
        elif (name, comment.line, code) not in used and _is_judged(plan, name, comment, code):
            yield _finding(
                SILENCES_NOTHING,
                f"{code} is not found here, so this comment silences nothing",
                at,
                "it would hide the next finding without a word",
                f"take {code} out of the comment"
                if len(comment.codes) > 1
                else "remove the comment",
            )


def _is_judged(plan: Plan, name: str, comment: Comment, code: str) -> bool:
    """Tell whether this plan shows that a comment is not needed."""
    if not comment.reason or code.startswith(ELSEWHERE):
        return False
    if any(key_of(each) not in CHOICES for each in plan.recipe.overrides):
        return False
    return not _is_of_another_variant(plan.recipe.variant_name, Path(name), comment.target)


def _is_of_another_variant(variant: str, path: Path, line: int) -> bool:
    from mmtrt.config.yaml_file import find, names_below, read

    try:
        root = read(path, is_strict=False).root
        for name in names_below(find(root, ("variants",))[1]):
            key, value = find(root, ("variants", name))
            begin = value.start_mark if key is None else key.start_mark
            # A block ends where the next key begins, a flow mapping with its brace.
            end = value.end_mark.line + (1 if getattr(value, "flow_style", True) else 0)
            if begin.line < line <= end:
                return name != variant
    except (KeyError, RecipeError):
        pass
    return False


def _finding(code: str, message: str, at: str, why: str, fix: str) -> Finding:
    return AboutComment(code=code, severity="warning", message=message, at=at, why=why, fix=fix)
