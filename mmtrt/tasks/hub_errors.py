"""Turn what ``huggingface_hub`` raises into a message with a fix, and say whether a retry may help.

The library speaks through requests, httpx or httpx2, depending on its version; so transport errors
are told by the module that defines them and no transport is imported here.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mmtrt.tasks.messages import TaskError, TemporaryError, disk_failure, quoted

TRANSPORTS = frozenset(
    {"requests", "urllib3", "httpx", "httpcore", "httpx2", "httpcore2", "h11", "h2", "socket"}
)
"""Top modules whose errors mean that bytes did not get through."""


@contextmanager
def explained(repo_id: str, revision: str, name: str | None = None) -> Iterator[None]:
    """Raise what the library raises inside as a failure with a fix; an unknown error stays itself.

    Args:
        repo_id: The repository that is asked.
        revision: The revision that is asked for.
        name: The file that is asked for, if it is one.

    Raises:
        TaskError: NET1xx, MDL11x or ART10x.
        TemporaryError: NET101, NET102 or NET104.
    """
    try:
        yield
    except Exception as error:
        chain = list(_chain(error))
        for place, link in enumerate(chain):
            failure = _explain(link, chain[place:], repo_id, revision, name)
            if failure is not None:
                raise failure from error
        raise


def _explain(
    error: BaseException,
    below: Sequence[BaseException],
    repo_id: str,
    revision: str,
    name: str | None,
) -> TaskError | None:
    """Return the failure for one link of a chain of causes, or None if it says nothing.

    The outermost link that says something wins: below it are attempts that were made again.
    """
    from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled

    if isinstance(error, HFValidationError):
        return TaskError(
            f"`{quoted(repo_id)}` is not the name of a repository",
            code="MDL112",
            why="it must read `owner/name`",
            fix="correct model.path; a directory of this machine goes into --local-dir",
        )
    if isinstance(error, OfflineModeIsEnabled):
        return offline(repo_id, revision)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):  # some versions let the transport's own error through
        return _refused(error, status, repo_id, revision, name)
    if _is_transport(error):
        if any(isinstance(link, ssl.SSLCertVerificationError) for link in below):
            return TaskError(
                f"the certificate of {_hub()} is not trusted",
                code="NET106",
                why="a proxy that opens TLS is the usual reason",
                fix="name its certificates in SSL_CERT_FILE (and REQUESTS_CA_BUNDLE)",
            )
        return unreachable(repo_id, name, below[-1])
    if isinstance(error, OSError) and "Consistency check failed" in str(error):
        return TemporaryError(
            f"`{quoted(name or repo_id)}` arrived with a wrong length",
            code="NET104",
            why="the connection or a proxy cut or repeated bytes",
            fix="run it again",
        )
    if isinstance(error, OSError) and error.errno is not None:
        return disk_failure(error)
    return None


def offline(repo_id: str, revision: str, because: str | None = None) -> TaskError:
    """Say that requests are forbidden and the cache does not hold what is wanted.

    Args:
        repo_id: The repository that is asked.
        revision: The revision that is asked for.
        because: What else there is to know of the cache.
    """
    from huggingface_hub import constants

    return TaskError(
        f"offline, and the cache does not hold all of `{quoted(repo_id)}` at `{quoted(revision)}`",
        code="NET103",
        why=f"HF_HUB_OFFLINE=1 forbids requests; the cache is `{quoted(constants.HF_HUB_CACHE)}`"
        + (f"; {because}" if because else ""),
        fix="run this stage once where there is a network and share HF_HOME with it; or unset "
        "HF_HUB_OFFLINE; or give a directory that holds the model: model.path=DIR",
    )


def unreachable(repo_id: str, name: str | None, cause: BaseException) -> TemporaryError:
    """Say that the network failed, which another attempt may cure."""
    return TemporaryError(
        f"no connection to {_hub()}, or it died, while fetching `{quoted(name or repo_id)}`",
        code="NET101",
        why=f"{type(cause).__name__}: {quoted(str(cause).splitlines()[0] if str(cause) else '')}",
        fix="run it again: what has come in is kept and only the rest is fetched; "
        "behind a proxy set HTTPS_PROXY, for a mirror HF_ENDPOINT",
    )


def _refused(
    error: BaseException, status: int, repo_id: str, revision: str, name: str | None
) -> TaskError:
    """Explain an answer of the hub that is not a success."""
    from huggingface_hub.errors import (
        DisabledRepoError,
        EntryNotFoundError,
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repo = f"`{quoted(repo_id)}`"
    page = f"{_hub()}/{quoted(repo_id)}"
    if isinstance(error, GatedRepoError):
        return TaskError(
            f"{repo} is gated, and access is refused (HTTP {status})",
            code="MDL111",
            why="its owner asks to accept terms first"
            if _has_token()
            else "no access token is set, so the hub does not know you",
            fix=f"accept the terms at {page}, then set HF_TOKEN to a token of that account",
        )
    if isinstance(error, RevisionNotFoundError):
        return TaskError(
            f"{repo} has no revision `{quoted(revision)}`",
            code="MDL113",
            fix=f"take a commit hash from {page}/commits/main and set model.revision",
        )
    if isinstance(error, EntryNotFoundError):
        return TaskError(
            f"{repo} has no file `{quoted(name or '?')}` at `{quoted(revision)}`",
            code="MDL114",
            fix="correct recipe.stages.download.include, or the revision",
        )
    if isinstance(error, RepositoryNotFoundError) or status == 404:
        return TaskError(
            f"there is no repository {repo} on {_hub()}, or it is private (HTTP {status})",
            code="MDL112",
            why="the hub tells the two apart only to those who may read it"
            + ("" if _has_token() else "; no access token is set"),
            fix="correct model.path; for a private repository set HF_TOKEN",
        )
    if status in (401, 403) or isinstance(error, DisabledRepoError):
        return TaskError(
            f"access to {repo} is refused (HTTP {status})",
            code="MDL111",
            why="the access token is not valid, or may not read this repository"
            if _has_token()
            else "no access token is set",
            fix=f"set HF_TOKEN to a token that may read {page}",
        )
    if status in (408, 425, 429) or status >= 500:
        return TemporaryError(
            f"{_hub()} cannot answer now (HTTP {status})",
            code="NET102",
            why="too many requests"
            if status == 429
            else "the hub or a proxy before it has trouble",
            fix="run it again later: what has come in is kept and only the rest is fetched",
        )
    return TaskError(
        f"{_hub()} answered HTTP {status} for `{quoted(name or repo_id)}`",
        code="NET105",
        fix="check that HF_ENDPOINT is a hub, and that the names are right",
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _is_transport(error: BaseException) -> bool:
    return (
        isinstance(error, (ConnectionError, TimeoutError, ssl.SSLError))
        or type(error).__module__.split(".")[0] in TRANSPORTS
    )


def _hub() -> str:
    from huggingface_hub import constants

    return quoted(constants.ENDPOINT)


def _has_token() -> bool:
    from huggingface_hub import get_token

    return bool(os.environ.get("HF_TOKEN") or get_token())
