"""Credentials out of everything that is kept or shown: logs, manifests, records, the terminal.

Two ways to know one: by its *form* (a URL with user and password, a token with a known prefix, an
assignment to a name such as ``api_key``), and by its *value*, where the environment or a URL has
given it away. It cannot know a password that stands alone and was never seen anywhere else.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

MASK = "***"
_MASK = MASK.encode()

MIN_SECRET_CHARS = 8
"""Shorter values are not searched for by themselves (*chosen*): they would mask common words."""

LONGEST = 4096
"""No match is longer than this many bytes, so that a stream need hold back no more."""


class _Rule:
    """One form of credentials; compiled when its beginning is first seen: most never are."""

    def __init__(
        self,
        start: str,
        rest: str,
        *,
        before: str = "",
        any_case: bool = True,
        mark: str = "",
        follows: bytes = b"",
    ) -> None:
        """Take a pattern whose group 1 is the credential; it never reaches over an end of line.

        Args:
            start: plain text that it begins with, which :mod:`re` finds fast.
            rest: the pattern after it.
            before: pattern of what must stand before.
            any_case: whether ``start`` and ``rest`` are for text in small letters.
            mark: what must occur somewhere in the text.
            follows: one of these bytes must stand right after ``start``; empty for any.
        """
        self.any_case = any_case
        self._start, self._mark, self._follows = start.encode(), mark.encode(), follows
        self._sources = (re.escape(start) + rest).encode(), before.encode()
        self._pattern: re.Pattern[bytes] | None = None

    def spans(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Yield where the credentials are."""
        if self._mark and self._mark not in text:
            return
        if self._pattern is None:
            if not self._may_be_in(text):
                return
            self._pattern = re.compile(self._sources[0])
        for found in self._pattern.finditer(text):
            before = text[max(0, found.start() - _BEFORE_BYTES) : found.start()]
            if not self._sources[1] or re.search(self._sources[1], before):
                yield found.span(1)

    def _may_be_in(self, text: bytes) -> bool:
        """Return whether it is worth compiling the pattern, which takes as long as a small plan."""
        at = text.find(self._start)
        while at >= 0:
            after = text[at + len(self._start) : at + len(self._start) + 1]
            if not self._follows or after in self._follows:
                return True
            at = text.find(self._start, at + 1)
        return False


_QUERY = (
    r"[?&;](?:token|access_token|auth_token|id_token|private_token|auth|key|api[_-]?key|secret|"
    r"client_secret|password|passwd|pwd|sig|signature|policy|key-pair-id|awsaccesskeyid|"
    r"x-amz-signature|x-amz-credential|x-amz-security-token|x-goog-signature|x-goog-credential)="
    r"([^\s&#'\"`<>;\\*]{1,2048})"
)
_VALUE = r"(?:\\?[\"'])?[ \t]{0,3}[:=][ \t]{0,3}(?:\\?[\"'])?(?![$<{*])([^\s\"'`,;&\\]{6,1024})"
"""A value that is assigned, in a shell, in JSON, within JSON, in YAML."""
_AFTER_NAME = b"\\\"' \t:="
_TOKEN_OF = (
    r"(?:hf|hub|gh|github|gitlab|auth|access|api|bearer|session|security|refresh|id|secret|"
    r"private|pypi|ngc|wandb)[_-]?$"
)
_KEY_OF = r"(?:api|secret|private|access|secret[_-]?access)[_-]?$"
_BEFORE_BYTES = 16

_RULES = (
    # Of ssh the user alone is no credential.
    _Rule("://", r"(?<!ssh://)([^\s/?#'\"`<>\\]{1,1024})@", mark="@"),
    _Rule("://", r"([^\s/?#'\"`<>\\@:]{0,256}:[^\s/?#'\"`<>\\]{1,1024})@", mark="@"),
    _Rule("", _QUERY, mark="?"),
    _Rule("token", _VALUE, before=_TOKEN_OF, follows=_AFTER_NAME),
    _Rule("key", "(?:[_-]id)?" + _VALUE, before=_KEY_OF, follows=_AFTER_NAME + b"_-"),
    _Rule("pass", "(?:word|wd|phrase)" + _VALUE, follows=b"wp"),
    _Rule("secret", _VALUE, follows=_AFTER_NAME),
    _Rule("bearer", r"[ \t]{1,3}([\w.~+/=-]{16,2048})"),
    _Rule(
        "authorization",
        r"[ \t\"'\\:=]{1,6}(?:basic|token)[ \t]{1,3}([\w.~+/=-]{6,2048})",
    ),
    _Rule("login", r"[ \t]{1,8}\S{1,256}[ \t]{1,8}password[ \t]{1,8}(\S{1,512})"),
    *(
        _Rule(start, rest, before=r"(?:^|[^A-Za-z0-9_])$", any_case=False)
        for start, rest in (
            ("hf_", r"([A-Za-z0-9]{20,255})"),
            ("gh", r"[pousr]_([A-Za-z0-9]{20,255})"),
            ("github_pat_", r"(\w{20,255})"),
            ("glpat-", r"([\w-]{16,255})"),
            ("nvapi-", r"([\w-]{20,255})"),
            ("sk-", r"([\w-]{20,255})"),
            ("xox", r"[abeprs]-([\w-]{10,255})"),
            ("pypi-", r"([\w-]{16,255})"),
            ("AKIA", r"([A-Z0-9]{16})"),
            ("ASIA", r"([A-Z0-9]{16})"),
            ("AIza", r"([\w-]{30,255})"),
        )
    ),
)
"""Source of the prefixes: the issuers' own documentation of their token formats (Hugging Face,
GitHub, GitLab, NVIDIA NGC, OpenAI, Slack, PyPI, AWS, Google)."""

_SECRET_NAME = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PASS|API_?KEY|KEY|KEY_ID|AUTH|CREDENTIALS?)"
    r"(?:_\d+)?$|._PWD$",
    re.I,
)
_USERINFO = r"://([^\s/?#'\"`<>\\]{1,1024})@"


class Redactor:
    """Takes credentials out of texts; safe to share between threads."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Look for these values, beside whatever has the form of a credential."""
        every = {form for secret in secrets for form in _forms(secret)}
        self._secrets = [form.encode("utf-8", "surrogatepass") for form in sorted(every)]

    @classmethod
    def of(cls, env: Mapping[str, str], texts: Iterable[str] = ()) -> Redactor:
        """Return one that knows what variables and URLs give away.

        Args:
            env: variables; those with a telling name, and URLs in all of them.
            texts: command lines and the like; their URLs.
        """
        return cls([*_secret_values(env), *(each for text in texts for each in _url_secrets(text))])

    def text(self, text: str) -> str:
        """Return a text without its credentials."""
        raw = text.encode("utf-8", "surrogatepass")
        masked = self.data(raw)
        return text if masked is raw else masked.decode("utf-8", "surrogatepass")

    def data(self, raw: bytes) -> bytes:
        """Return bytes of a log without their credentials; the same object if there are none."""
        parts, at = [], 0
        for start, end in sorted(self.spans(raw)):
            if end > at:
                # Of two that overlap, both are masked.
                parts += [raw[at:start], _MASK] if start >= at else []
                at = end
        return raw if not parts else b"".join([*parts, raw[at:]])

    def spans(self, raw: bytes) -> Iterator[tuple[int, int]]:
        """Yield where credentials begin and end in bytes of a log, in no order."""
        for secret in self._secrets:
            at = raw.find(secret)
            while at >= 0:
                yield at, at + len(secret)
                at = raw.find(secret, at + len(secret))
        lowered = raw.lower()
        for rule in _RULES:
            yield from rule.spans(lowered if rule.any_case else raw)

    def whole(self, text: str) -> str:
        """Return a text without its credentials, and without those that its URLs give away."""
        return self._knowing([text]).text(text)

    def tree(self, value: Any) -> Any:
        """Return JSON-like data whose texts, names included, hold no credentials.

        What a URL in one place gives away is masked in all places.
        """
        return self._knowing(_texts(value))._tree(value)

    def _knowing(self, texts: Iterable[str]) -> Redactor:
        found = [secret for text in texts for secret in _url_secrets(text)]
        if not found:
            return self
        wiser = Redactor(found)
        wiser._secrets = sorted({*self._secrets, *wiser._secrets})
        return wiser

    def _tree(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self._tree(name): self._tree(each) for name, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._tree(each) for each in value]
        return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _texts(name)
            yield from _texts(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _texts(each)


@lru_cache(maxsize=4096)
def _without_forms(text: str) -> str:
    return Redactor.text(FORMS, text)


class _Forms(Redactor):
    """Looks at each text once: key documents of a thousand stages are made of the same few."""

    def text(self, text: str) -> str:
        """Return a text without its credentials."""
        return _without_forms(text) if len(text) < LONGEST else Redactor.text(self, text)


FORMS = _Forms()
"""Knows forms only. What enters a key goes through this one: a key must not depend on which
variables happen to be set."""


def of_environment(texts: Iterable[str] = ()) -> Redactor:
    """Return a redactor for what this process shows and writes."""
    return Redactor.of(os.environ, texts)


def of_machine(env: Mapping[str, str], texts: Iterable[str] = ()) -> Redactor:
    """Return a redactor for what a child process prints: it may also read the user's own files."""
    return Redactor(
        [
            *_secret_values(os.environ),
            *_secret_values(env),
            *(each for text in texts for each in _url_secrets(text)),
            *_file_secrets(),
        ]
    )


def _secret_values(env: Mapping[str, str]) -> Iterator[str]:
    for name, value in env.items():
        if _SECRET_NAME.search(name) and not os.path.exists(value):  # noqa: PTH110 - any text
            yield value
        yield from _url_secrets(value)


def _url_secrets(text: str) -> Iterator[str]:
    """Yield passwords and tokens of the URLs in a text."""
    if "://" not in text:
        return
    from urllib.parse import unquote

    for found in re.finditer(_USERINFO, text):
        user, colon, password = found[1].partition(":")
        if not colon:
            yield user
        elif password:
            yield password
            import base64  # seldom needed

            yield base64.b64encode(unquote(f"{user}:{password}").encode()).decode()
            if len(user) >= 2 * MIN_SECRET_CHARS:  # https://<token>:x-oauth-basic@host
                yield user
    for found in re.finditer(_QUERY, text, re.I):
        yield found[1]


def _forms(secret: str) -> Iterator[str]:
    """Yield the ways in which a value may be written."""
    from urllib.parse import quote, unquote

    for line in secret.strip().splitlines():
        plain = line.strip()
        for form in (plain, unquote(plain), quote(plain, safe=""), json.dumps(plain)[1:-1]):
            if len(form) >= MIN_SECRET_CHARS:
                yield form[:LONGEST]


def _file_secrets() -> Iterator[str]:
    """Yield what the user's files hold: the hub's token, and the passwords of ``.netrc``."""
    home = Path(os.environ.get("HOME") or "/nonexistent")
    hub = Path(os.environ.get("HF_HOME") or home / ".cache/huggingface")
    for path in (Path(os.environ.get("HF_TOKEN_PATH") or hub / "token"), hub / "stored_tokens"):
        for line in _read(path).splitlines():
            yield line.rpartition("=")[2]
    words = _read(Path(os.environ.get("NETRC") or home / ".netrc")).split()
    yield from (after for word, after in itertools.pairwise(words) if word == "password")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:65536]
    except OSError:
        return ""
