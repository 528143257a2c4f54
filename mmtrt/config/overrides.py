"""One override, and the command line itself cut into its parts.

Nothing here knows Hydra's grammar: only what stands before the first ``=`` is looked at.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

GROUPS = ("recipe", "backend", "quant", "executor")
"""Keys whose value is the name of a YAML file in the directory of that name."""

EXPERIMENT = "experiment"
"""The group of named sweeps, of which none is chosen by default."""

HYDRA_SWITCHES: dict[str, tuple[str, bool]] = {
    "--cfg": ("--cfg", True),
    "-c": ("--cfg", True),
    "--package": ("--package", True),
    "-p": ("--package", True),
    "--resolve": ("--resolve", False),
    "--run": ("--run", False),
    "-r": ("--run", False),
    "--multirun": ("--multirun", False),
    "-m": ("--multirun", False),
    "--shell-completion": ("--shell-completion", False),
    "-sc": ("--shell-completion", False),
    "--hydra-help": ("--hydra-help", False),
    "--config-path": ("--config-path", True),
    "-cp": ("--config-path", True),
    "--experimental-rerun": ("--experimental-rerun", True),
    "--info": ("--info", False),
    "-i": ("--info", False),
}
"""Spelling -> (long spelling, whether a value follows); ``--info`` may have one."""
INFO_CHOICES = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
CFG_CHOICES = ("job", "hydra", "all")

Action = Literal["change", "add", "force", "delete", "other"]

_PREFIX = re.compile(r"^(\+\+|\+|~)?")


@dataclass(frozen=True)
class Parsed:
    """One override as Hydra's grammar understands it."""

    text: str
    key: str
    """Without prefix and package."""
    package: str | None
    action: Action
    value: Any
    is_sweep: bool

    @property
    def path(self) -> tuple[str, ...]:
        """The key in its parts."""
        return tuple(self.key.split("."))

    @property
    def name(self) -> str:
        """The key with its package, as a defaults list writes it."""
        return self.key if self.package is None else f"{self.key}@{self.package}"

    @property
    def at(self) -> str:
        """The place, as messages show it."""
        return f"override {self.text!r}"

    @property
    def is_hydra(self) -> bool:
        """Whether it is for Hydra itself."""
        return is_hydra(self.text)


_KEY = r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*|/[A-Za-z_][\w-]*)*"
_BARE = r"[\w/.+%*?|:-]+(?: +[\w/.+%*?|-]+)*"
_QUOTED = r"'[^'\\]*'|\"[^\"\\]*\""
_WORD = re.compile(rf"(\+\+?|~)?({_KEY})(?:=({_QUOTED}|{_BARE}|\[.*\])?)?", re.ASCII)
_ITEM = re.compile(rf"[ \t]*({_QUOTED}|{_BARE})[ \t]*(?:,|$)", re.ASCII)
_INT = re.compile(r"[+-]?(?:0|[1-9](?:_?\d)*)", re.ASCII)
_POINT = r"(?:(?:0|[1-9](?:_?\d)*)\.|(?:0|[1-9](?:_?\d)*)?\.\d(?:_?\d)*)"
_FLOAT = re.compile(
    rf"[+-]?(?:{_POINT}|(?:{_POINT}|0|[1-9](?:_?\d)*)e[+-]?\d(?:_?\d)*|inf|nan)",
    re.ASCII | re.IGNORECASE,
)
_ACTIONS: dict[str | None, Action] = {None: "change", "+": "add", "++": "force", "~": "delete"}


def plain(text: str) -> Parsed | None:
    """Return an override that is no more than a key and plain values; ``None`` for any other.

    Hydra's parser takes some 100 ms to import; whatever is not certain here is left to it.
    Source: ``hydra/grammar/OverrideLexer.g4`` of hydra-core 1.3.
    """
    found = _WORD.fullmatch(text)
    if found is None:
        return None
    prefix, key, raw = found.groups()
    if "=" not in text:
        return Parsed(text, key, None, "delete", None, False) if prefix == "~" else None
    value: Any = ""
    if raw and raw[0] == "[":
        value, rest = [], raw[1:-1].strip(" \t")
        while rest:
            item = _ITEM.match(rest)
            if item is None or (item.end() == len(rest) and rest[-1] == ","):
                return None
            value.append(_scalar(item[1]))
            rest = rest[item.end() :]
    elif raw:
        value = _scalar(raw)
    return Parsed(text, key, None, _ACTIONS[prefix], value, False)


def _scalar(raw: str) -> Any:
    if raw[0] in "'\"":
        return raw[1:-1]
    if _INT.fullmatch(raw):
        return int(raw)
    if _FLOAT.fullmatch(raw):
        return float(raw)
    return {"true": True, "false": False, "null": None}.get(raw.lower(), raw)


@dataclass(slots=True)
class Arguments:
    """A command line in its parts, each in the order given."""

    overrides: list[str] = field(default_factory=list)
    config_dirs: list[str] = field(default_factory=list)
    config_name: str = "config"
    hydra: list[str] = field(default_factory=list)
    """Hydra's own switches, in their long spelling, as ``--name`` or ``--name=value``."""
    rest: list[str] = field(default_factory=list)
    """Verbs and options of mmtrt; not understood here."""

    def switch(self, name: str) -> str | None:
        """Return the value of one of Hydra's switches; empty if it has none, ``None`` if absent."""
        for each in self.hydra:
            head, _, value = each.partition("=")
            if head == name:
                return value
        return None


def needs_hydra(argv: Sequence[str]) -> bool:
    """Tell whether a command line asks for something that only Hydra does; imports nothing."""
    arguments = split(argv)
    return bool(
        arguments.hydra
        or arguments.config_name != "config"
        or any(is_hydra(each) for each in arguments.overrides)
    )


def split(argv: Sequence[str]) -> Arguments:
    """Cut a command line into overrides, Hydra's switches and everything else."""
    found = Arguments()
    pending = list(argv)
    while pending:
        each = pending.pop(0)
        if each == "--":
            found.overrides += pending
            break
        if not each.startswith("-"):
            (found.overrides if looks_like_override(each) else found.rest).append(each)
            continue
        head, equals, value = each.partition("=")
        if head in ("-cd", "--config-dir", "-cn", "--config-name"):
            if not equals:
                value = pending.pop(0) if pending else ""
            if head in ("-cd", "--config-dir"):
                found.config_dirs.append(value)
            else:
                found.config_name = value
        elif head in HYDRA_SWITCHES:
            name, wants_value = HYDRA_SWITCHES[head]
            if not equals and (
                (wants_value and pending)
                or (name == "--info" and pending and pending[0] in INFO_CHOICES)
            ):
                value = pending.pop(0)
            found.hydra.append(f"{name}={value}" if value else name)
        else:
            found.rest.append(each)
    return found


def canonical(words: Iterable[str]) -> list[str]:
    """Return overrides with ``experiment=x`` as ``+experiment=x``: no recipe has one by default."""
    return [f"+{word}" if word.startswith(f"{EXPERIMENT}=") else word for word in words]


def looks_like_override(text: str) -> bool:
    """Tell whether a word is meant to set a key: ``key=value``, ``+key=value`` or ``~key``."""
    return "=" in text or text[:1] in ("+", "~")


def is_hydra(override: str) -> bool:
    """Tell whether an override is for Hydra itself, such as ``hydra/launcher=joblib``."""
    return re.match(r"(\+\+|\+|~)?hydra\b", override) is not None


def key_of(override: str) -> str:
    """Return what stands before ``=``, without a leading ``+``, ``++`` or ``~``."""
    return _PREFIX.sub("", override.split("=", 1)[0]).strip()


def value_of(override: str) -> str:
    """Return what stands after ``=``, as it was written."""
    return override.partition("=")[2]


def with_key(override: str, key: str) -> str:
    """Return the override for another key, quoted for the shell where that is needed."""
    return shell(f"{key}={value_of(override)}")


def shell(text: str) -> str:
    """Return text as one word for a shell; left alone where it already is one."""
    return text if re.fullmatch(r"[\w@%+=:,./~-]+", text) else shlex.quote(text)


def assigned(values: Mapping[str, object]) -> str:
    """Return overrides of plain values, as one types them."""
    return " ".join(f"{key}={value}" for key, value in values.items())


def quoted(text: str) -> str:
    """Return text as a quoted string of Hydra's override grammar."""
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', text)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f'"{escaped}{chr(92) * trailing}"'


def for_hydra(each: Parsed) -> str:
    """Return an override as Hydra takes it.

    Hydra refuses to set what no file mentions: but a group's file need not mention what has a
    default in the schema. The key was checked against the schema, so it may be added; the keys
    inside of a mapping are checked when the result is read.
    """
    may_add = isinstance(each.value, dict) or (each.path[0] in GROUPS and len(each.path) > 1)
    return (
        f"++{each.text}" if each.action == "change" and may_add and not each.is_hydra else each.text
    )


def spoken(value: Any) -> str:
    """Return the value of an override as a name."""
    return str(value).lower() if isinstance(value, bool) else str(value)
