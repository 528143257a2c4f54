"""Run pip inside an overlay without putting it there, and say what its failures mean."""

from __future__ import annotations

import collections
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmtrt.tasks.messages import TaskError, TemporaryError, quoted, scrub
from mmtrt.tasks.tool_failures import Failure

OLDEST = (22, 2)
"""The first pip that reports what it would install."""

QUIET = (
    *("--disable-pip-version-check", "--no-input", "--no-color", "--progress-bar=off"),
    *("--no-warn-script-location", "--no-compile"),
)


FAILURES = (
    Failure(
        r"No space left on device|Disk quota exceeded",
        "ART105",
        "the disk is full",
        "free some space, or move the store (paths.store) to a larger disk",
    ),
    Failure(
        r"DO NOT MATCH THE HASHES|Hashes are required",
        "ART115",
        "a package is not the one that its hash was taken of",
        "if you trust the index, correct the hash in the requirements file",
    ),
    Failure(
        r"ERROR: ResolutionImpossible|conflicting dependencies",
        "ART112",
        "the requirements contradict each other",
        "loosen one of the requirements that pip names",
    ),
    Failure(
        r"Invalid requirement|Could not open requirements file|no such option|ambiguous option|"
        r"should either be a path|not a valid (wheel|editable)|is not a supported wheel",
        "ART113",
        "a requirement cannot be understood",
        "correct it; it reads like `transformers==4.45.2`",
    ),
    Failure(
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        "NET106",
        "the certificate of the package index is not trusted",
        "name the certificates of your proxy in PIP_CERT or SSL_CERT_FILE",
    ),
    Failure(
        r"Max retries exceeded|Failed to establish|New ?ConnectionError|ConnectTimeout|"
        r"[Rr]ead ?timed out|ReadTimeout|Connection (aborted|reset|refused|broken|error)|"
        r"ConnectionResetError|IncompleteRead|ProtocolError|Name or service not known|"
        r"failure in name resolution|Network is unreachable|Could not fetch URL.*"
        r"(connection error|timed out|5\d\d Server Error|429)|HTTP error (5\d\d|429)",
        "NET101",
        "no connection to the package index, or it died",
        "run it again; behind a proxy set HTTPS_PROXY, for a mirror give --index-url",
        is_temporary=True,
    ),
    Failure(
        r"No matching distribution|Could not find a version|requires a different Python",
        "ART112",
        "there is no such version of a package for this Python and platform",
        "correct the version, or name an index that has it with --index-url or --find-links",
    ),
    Failure(
        r"subprocess-exited-with-error|metadata-generation-failed|Failed (building|to build)",
        "ART114",
        "a package could not be built from its sources",
        "name a version that has a wheel for this Python, or install what its build asks for",
    ),
)
"""In the order in which they are looked for: an index out of reach has no matching version."""


@dataclass(frozen=True)
class Pip:
    """A pip that works on the environment of one interpreter."""

    argv: Sequence[str]
    """How to start it."""
    scratch: Path
    """For what it unpacks and builds."""

    def install(self, *flags: str) -> None:
        """Run ``pip install``; its output goes to our stderr.

        Raises:
            TaskError: what the first fitting line of ``FAILURES`` says; ART111, if none fits.
            TemporaryError: NET101.
        """
        log = self.scratch / "pip.log"
        log.unlink(missing_ok=True)
        last: collections.deque[str] = collections.deque(maxlen=12)
        with subprocess.Popen(
            [*self.argv, "--log", str(log), "install", *QUIET, *flags],
            env=_environment(self.scratch),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as process:
            assert process.stdout is not None
            for raw in process.stdout:
                line = scrub(quoted(raw.rstrip()))
                last.append(line)
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()
        if process.returncode:
            # The log also tells what pip only mutters, such as an index that does not answer.
            said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
            raise _explain(process.returncode, said or "\n".join(last), list(last))


def find_pip(python: Path, scratch: Path) -> Pip:
    """Return a pip that installs for ``python``: the host's, or the one that ensurepip brings.

    Raises:
        TaskError: ART110, if there is none or it is too old.
    """
    done = subprocess.run(
        [str(python), "-m", "pip", "--version"],
        env=_environment(scratch),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    candidates: list[tuple[tuple[str, ...], str]] = [(("-m", "pip"), done.stdout)]
    candidates += [((str(wheel / "pip"),), wheel.name) for wheel in _bundled()]
    tried = []
    for start, name in candidates:
        found = re.match(r"pip[ -]((\d+)\.(\d+)[.\d]*)", name)
        if found and (int(found[2]), int(found[3])) >= OLDEST:
            return Pip((str(python), *start), scratch)
        if found:
            tried.append(found[1])
    raise TaskError(
        f"pip {', '.join(tried)} is too old" if tried else "this Python has no pip",
        code="ART110",
        why=f"`{quoted(sys.executable)}` needs pip {OLDEST[0]}.{OLDEST[1]} or newer",
        fix="install it: `python -m pip install --upgrade pip`, `uv pip install pip`, or "
        "`apt-get install python3-pip`",
    )


def _bundled() -> list[Path]:
    """Return pip's wheels that come with Python; the package in a wheel can be run as it is."""
    places = [Path(sysconfig.get_path("stdlib"), "ensurepip", "_bundled")]
    if shared := sysconfig.get_config_var("WHEEL_PKG_DIR"):
        places.append(Path(shared))
    places.append(Path("/usr/share/python-wheels"))  # Debian's
    return [wheel for place in places for wheel in sorted(place.glob("pip-*.whl"))]


def _environment(scratch: Path) -> dict[str, str]:
    """Return the variables that pip sees: not those that say where to install."""
    moved = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON", "PIP_REQUIREMENT")
    env = {name: value for name, value in os.environ.items() if name not in moved}
    return env | {
        "PIP_USER": "0",
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(scratch),
    }


def _explain(status: int, said: str, last: Sequence[str]) -> TaskError:
    blocks = [("pip", "\n".join(last))] if last else []
    for failure in FAILURES:
        if re.search(failure.said, said):
            kind = TemporaryError if failure.is_temporary else TaskError
            return kind(failure.message, code=failure.code, fix=failure.fix, blocks=blocks)
    return TaskError(
        f"pip ended with exit status {status}",
        code="ART111",
        fix="see what pip says above",
        blocks=blocks,
    )
