"""What a stage process says: errors with a code and a fix, exit statuses, and no secrets.

It does not decide what is wrong; that is the business of the module that finds it.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TextIO

from mmtrt.errors import MmtrtError

CODES = {
    "ART101": "a file is already there",
    "ART102": "the text to be replaced is not there exactly once",
    "ART103": "a file is not the one that the edit was written for",
    "ART104": "a path leads out of the directory it belongs to",
    "ART105": "not enough disk space",
    "ART106": "a file or directory cannot be read or written",
    "ART107": "an input directory is missing or empty",
    "ART108": "a file carries the edit already",
    "ART109": "the list of edits cannot be understood",
    "ART110": "a program that the stage drives is missing or too old",
    "ART111": "a program that the stage drives failed in a way that is not known",
    "ART112": "no set of packages meets the requirements",
    "ART113": "a requirement cannot be understood or pinned",
    "ART114": "a package could not be built",
    "ART115": "a package is not the one that its hash was taken of",
    "ART116": "an environment does not see its own packages first",
    "MDL101": "the revision is not a commit hash (a warning)",
    "MDL111": "access to a repository is refused",
    "MDL112": "there is no such repository",
    "MDL113": "the repository has no such revision",
    "MDL114": "a file that the recipe names is not there",
    "MDL115": "a Git LFS pointer lies where a file should be",
    "MDL116": "a safetensors file is cut short or garbled",
    "MDL117": "a shard that the index names is missing",
    "MDL118": "the local directory is missing or empty",
    "MDL119": "a file is not the one that the lock names",
    "NET101": "a hub or server cannot be reached, or the connection died",
    "NET102": "a hub or server is overloaded or broken",
    "NET103": "offline, and the files are not in the cache",
    "NET104": "what arrived is not what the hub announced",
    "NET105": "the hub answered something unexpected",
    "NET106": "a server's TLS certificate is not trusted",
    "NET121": "the port of a server is taken",
    "NET122": "a server ended too early",
    "NET123": "a server was not ready in time",
    "NET124": "a server refused a request",
    "NET125": "a server's answer cannot be understood",
    "NET126": "a server cannot be started",
    "SEC101": "weights that run code when they are loaded",
}
"""Every code that a stage process prints. MDL101 is shared with the rule of that name."""

EX_TEMPFAIL = 75
"""``sysexits.h``: try again later, nothing is wrong with what was asked."""


@dataclass(eq=False)
class TaskError(MmtrtError):
    """The stage cannot do what it was asked; asking again changes nothing."""

    blocks: list[tuple[str, str]] = field(default_factory=list)
    """Texts shown whole under the message, each with a title."""

    exit_code: ClassVar[int] = 1

    def render(self) -> str:
        """Return the message as the lines a terminal shows."""
        lines = [f"error[{self.code}]: {scrub(self.message)}"]
        if self.why:
            lines.append(f"  why: {scrub(self.why)}")
        for title, text in self.blocks:
            lines.append(f"  {title}:")
            lines += [f"    | {line}" for line in text.splitlines()]
        if self.fix:
            lines.append(f"  fix: {scrub(self.fix)}")
        return "\n".join(["\n".join(lines), *(other.render() for other in self.also)])


@dataclass(eq=False)
class TemporaryError(TaskError):
    """Something outside failed, as a network does; the same command may succeed later."""

    exit_code: ClassVar[int] = EX_TEMPFAIL


def run_stage(work: Callable[[], None]) -> int:
    """Do the work of one stage and return the exit status, with every expected failure told.

    A failure that is our mistake keeps its traceback.
    """
    try:
        work()
    except TaskError as failure:
        _write(sys.stderr, failure.render())
        return failure.exit_code
    except KeyboardInterrupt:
        _write(sys.stderr, "interrupted")
        return 130
    except OSError as error:
        _write(sys.stderr, disk_failure(error).render())
        return 1
    return 0


def say(text: str) -> None:
    """Write one line of the result to stdout."""
    _write(sys.stdout, scrub(text))


def warn(code: str, message: str, *, why: str | None = None, fix: str | None = None) -> None:
    """Write a warning to stderr, in the shape of an error."""
    lines = [f"warning[{code}]: {scrub(message)}"]
    lines += [f"  {label}: {scrub(text)}" for label, text in (("why", why), ("fix", fix)) if text]
    _write(sys.stderr, "\n".join(lines))


def note(text: str) -> None:
    """Write one line that nobody needs to act on to stderr."""
    _write(sys.stderr, f"note: {scrub(text)}")


def disk_failure(error: OSError) -> TaskError:
    """Say which path the operating system refused, and why."""
    place = f" `{quoted(str(error.filename))}`" if error.filename else ""
    reason = error.strerror or type(error).__name__
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TaskError(
            f"the disk is full{place}",
            code="ART105",
            why=reason,
            fix="free some space, or move the store (paths.store) and HF_HOME to a larger disk; "
            "what was fetched so far is kept",
        )
    return TaskError(
        f"cannot read or write{place}",
        code="ART106",
        why=reason,
        fix="check that the path exists and that you may read and write it",
    )


def quoted(text: str) -> str:
    """Return a name fit for one line: control characters and stray bytes escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def listed(names: Sequence[str], limit: int = 5) -> str:
    """Return the first few names and how many more there are."""
    shown = ", ".join(f"`{quoted(name)}`" for name in names[:limit])
    more = len(names) - limit
    return f"{shown} and {more} more" if more > 0 else shown


def scrub(text: str) -> str:
    """Take out access tokens and the query of a URL, where signatures are."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN"):
        if secret := os.environ.get(name, "").strip():
            text = text.replace(secret, "***")
    text = re.sub(r"\bhf_[A-Za-z0-9]{30,}", "***", text)
    text = re.sub(r"(https?://)[^\s/@]+@", r"\1***@", text)
    return re.sub(r"(https?://[^\s?]*)\?[^\s'\"`]*", r"\1", text)


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()
