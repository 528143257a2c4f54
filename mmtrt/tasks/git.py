"""Run ``git`` as if nobody had configured it, and say what its failures mean.

It knows no output directory; what is fetched and where it goes is the business of ``clone``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from mmtrt.tasks.messages import TaskError, TemporaryError, quoted, scrub
from mmtrt.tasks.tool_failures import Failure

OLDEST = (2, 32)
"""The first git that can be told to skip the user's configuration (GIT_CONFIG_GLOBAL)."""

KEPT = ("GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH")
"""How to reach a server. Any other GIT_ variable could change what is fetched, or from where."""

SETTINGS = (
    "advice.detachedHead=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.hooksPath=/dev/null",
    "core.bare=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "http.lowSpeedLimit=1000",  # bytes a second, for
    "http.lowSpeedTime=60",  # seconds; otherwise a dead connection is waited for without end
)


FAILURES = (
    Failure(
        r"No space left on device|Disk quota exceeded",
        "ART105",
        "the disk is full",
        "free some space, or move the store (paths.store) to a larger disk",
    ),
    Failure(
        r"certificate (problem|verification failed)|certificate.*not trusted",
        "NET106",
        "the certificate of the server of {url} is not trusted",
        "name the certificates of your proxy in GIT_SSL_CAINFO",
    ),
    Failure(
        r"could not read (Username|Password)|Authentication failed|Permission denied|Host key "
        r"verification failed|returned error: 40[13]|dubious ownership|access denied",
        "MDL111",
        "access to {url} is refused, or there is no such repository",
        "correct the URL; for a private repository use an ssh URL with a key in the agent, or put "
        "a token into ~/.netrc",
    ),
    Failure(
        r"not our ref|unadvertised object|couldn't find remote ref|no such remote ref",
        "MDL113",
        "{url} has no commit `{revision}`, or does not hand it out",
        "take a commit that is on a branch, or name a tag",
    ),
    Failure(
        r"repository .* (not found|does not exist)|not appear to be a git repository|returned "
        r"error: 404|Repository not found",
        "MDL112",
        "there is no repository {url}",
        "correct the URL",
    ),
    Failure(
        r"transport .* not allowed|remote helper|protocol .* not supported|URL rejected|strange "
        r"(pathname|hostname)",
        "MDL112",
        "{url} is not an address that git may fetch from",
        "use an https, ssh, git or file URL",
    ),
    Failure(
        r"returned error: (429|5\d\d)",
        "NET102",
        "the server of {url} cannot answer now",
        "run it again later",
        is_temporary=True,
    ),
    Failure(
        r"Could not resolve|unable to look up|name resolution|Failed to connect|[Cc]onnection "
        r"(refused|reset|timed out|closed)|Network is unreachable|timed out|early EOF|RPC failed|"
        r"hung up unexpectedly|unexpected disconnect|Operation too slow|SSL_ERROR|"
        r"gnutls|Couldn't connect|Could not read from remote repository",
        "NET101",
        "no connection to the server of {url}, or it died",
        "run it again; behind a proxy set HTTPS_PROXY",
        is_temporary=True,
    ),
)
"""In the order in which they are looked for: a refusal often ends in ``hung up unexpectedly``."""


@dataclass(frozen=True)
class Git:
    """A repository without a work tree of its own, with one remote named ``origin``."""

    directory: Path
    """The git directory; absolute."""
    url: str
    revision: str
    """For messages."""

    def init(self) -> None:
        """Make the repository.

        Raises:
            TaskError: ART110, if git is missing or too old.
        """
        require_git()
        self.run("init", "--quiet", "--template=")
        self.run("config", "remote.origin.url", self.url)

    def run(self, *words: str, work_tree: Path | None = None) -> str:
        """Run a git command and return its stdout; stray bytes are surrogates.

        Raises:
            TaskError: what the first fitting line of ``FAILURES`` says; ART111, if none fits.
            TemporaryError: NET101 or NET102.
        """
        argv = ["git", f"--git-dir={self.directory}"]
        if work_tree is not None:
            argv.append(f"--work-tree={work_tree}")
        for setting in SETTINGS:
            argv += ["-c", setting]
        done = subprocess.run(
            [*argv, *words],
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
        )
        if done.returncode:
            raise self._explain(words[0], done.returncode, done.stderr)
        return done.stdout

    def _explain(self, command: str, status: int, stderr: str) -> TaskError:
        lines = [quoted(scrub(line)) for line in stderr.splitlines() if line.strip()]
        blocks = [("git", "\n".join(lines[-8:]))] if lines else []
        url, revision = f"`{quoted(self.url)}`", quoted(self.revision)
        for failure in FAILURES:
            if re.search(failure.said, stderr):
                kind = TemporaryError if failure.is_temporary else TaskError
                message = failure.message.format(url=url, revision=revision)
                return kind(message, code=failure.code, fix=failure.fix, blocks=blocks)
        return TaskError(
            f"git {command} ended with exit status {status} for {url}",
            code="ART111",
            fix="see what git says above",
            blocks=blocks,
        )


def environment() -> dict[str, str]:
    """Return the variables that git sees: nobody's configuration, and nobody to ask."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name in KEPT
    }
    env.pop("SSH_ASKPASS", None)
    env.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    return env | {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_LITERAL_PATHSPECS": "1",
        "LC_ALL": "C",
        "LANGUAGE": "C",
    }


def require_git() -> None:
    """Refuse a machine without a git that can be trusted to ignore configuration.

    Raises:
        TaskError: ART110.
    """
    fix = "install git, as in `apt-get install git`"
    if shutil.which("git") is None:
        raise TaskError("there is no `git` in PATH", code="ART110", fix=fix)
    said = subprocess.run(
        ["git", "version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    ).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < OLDEST:
        raise TaskError(
            f"this git is too old, or none: `{quoted(said.strip())}`",
            code="ART110",
            why="before 2.32 it cannot be told to skip the configuration of its user",
            fix=fix,
        )
