"""The keys that a command line may set, and the command line itself cut into its parts.

The table of keys is derived from :class:`mmtrt.config.schema.Settings`, so it cannot drift. Nothing
here knows Hydra's grammar: only what stands before the first ``=`` is looked at.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import shlex
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, Union

from mmtrt.config import typed
from mmtrt.config.root import display, recipes_root
from mmtrt.errors import RecipeError

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


@dataclass(frozen=True, slots=True)
class FlatKey:
    """One key that people type."""

    name: str
    kind: str
    """What its value must be, in words."""
    choices: tuple[str, ...] = ()
    """Every value that fits, where there are few."""
    default: Any = None


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """How far a key leads into the schema."""

    known: tuple[str, ...]
    """The parts that exist."""
    choices: tuple[str, ...]
    """What could have stood where the first unknown part stands; empty if all parts exist."""
    ok: bool
    free: tuple[int, ...] = ()
    """Indices of the parts that the schema leaves open, such as a variant's name."""


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


def quoted(text: str) -> str:
    """Return text as a quoted string of Hydra's override grammar."""
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', text)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f'"{escaped}{chr(92) * trailing}"'


@cache
def flat_keys() -> dict[str, FlatKey]:
    """Return the table of keys by name; the keys inside of a recipe are not among them."""
    found: dict[str, FlatKey] = {}
    _collect(_settings(), "", found)
    return found


def _settings() -> type:
    """Import the schema when it is needed: its dataclasses take a third of what ``ls`` takes."""
    from mmtrt.config.schema import Settings

    return Settings


def _collect(cls: type, prefix: str, found: dict[str, FlatKey]) -> None:
    kinds = typed.field_types(cls)
    for f in dataclasses.fields(cls):
        name = prefix + f.name
        options = _options(kinds[f.name])
        inner = next((o for o in options if dataclasses.is_dataclass(o)), None)
        if not prefix and f.name in GROUPS:
            found[name] = FlatKey(name, f"the name of a {f.name}")
            if f.name == "recipe":
                continue
        if isinstance(inner, type):
            _collect(inner, f"{name}.", found)
        elif not (prefix and prefix[:-1] in GROUPS and f.name == "name"):
            default = None if f.default is dataclasses.MISSING else f.default
            found[name] = FlatKey(name, _in_words(options), _choices(options), default)


def check(parts: Sequence[str]) -> KeyCheck:
    """Follow the parts of a dotted key into the schema."""
    kinds: tuple[Any, ...] = (_settings(),)
    free: list[int] = []
    for depth, part in enumerate(parts):
        inside = [_step(kind, part) for kind in kinds]
        hits = [hit for hit in inside if hit is not None]
        if not hits:
            names = tuple(
                f.name
                for kind in kinds
                if dataclasses.is_dataclass(kind)
                for f in dataclasses.fields(kind)
            )
            return KeyCheck(tuple(parts[:depth]), names, False, tuple(free))
        kind, is_free = hits[0]
        if is_free:
            free.append(depth)
        kinds = _options(kind)
    return KeyCheck(tuple(parts), (), True, tuple(free))


def kind_of(path: Sequence[str | int]) -> str:
    """Return in words what the value at a key must be; empty where the schema does not say."""
    kinds = _options(_type_at(path))
    return _in_words(kinds) if kinds != (Any,) else ""


def length_of(path: Sequence[str | int]) -> int:
    """Return how many items the list at a key must have; 1 where the schema does not say."""
    members = typing.get_args(_type_at(path)) or ()
    for each in (_type_at(path), *members):
        for bound in getattr(each, "__metadata__", ()):
            if isinstance(bound, typed.Length):
                return bound.count
    return 1


def _type_at(path: Sequence[str | int]) -> Any:
    found: Any = _settings()
    for part in path:
        hits = [hit for kind in _options(found) if (hit := _step(kind, str(part))) is not None]
        if not hits:
            return Any
        found = hits[0][0]
    return found


def _step(kind: Any, part: str) -> tuple[Any, bool] | None:
    """Return the type behind one part of a key, and whether any name would have done."""
    if kind is Any:
        return Any, True
    if dataclasses.is_dataclass(kind):
        types_by_name = typed.field_types(typing.cast(type, kind))
        return (types_by_name[part], False) if part in types_by_name else None
    origin = typing.get_origin(kind)
    if origin is dict:
        return typing.get_args(kind)[1], True
    if origin is list and part.isdigit():
        return typing.get_args(kind)[0], False
    return None


def _options(kind: Any) -> tuple[Any, ...]:
    """Return the members of a union without ``None``, else the type alone; bounds are left out."""
    if typing.get_origin(kind) in (Union, types.UnionType):
        members = (o for o in typing.get_args(kind) if o is not type(None))
        return tuple(o for member in members for o in _options(member))
    if typing.get_origin(kind) is Annotated:
        return _options(typing.get_args(kind)[0])
    return (kind,)


def _in_words(options: tuple[Any, ...]) -> str:
    words = []
    for option in options:
        origin = typing.get_origin(option)
        if origin is Literal:
            words.append("one of " + ", ".join(str(c) for c in typing.get_args(option)))
        elif origin is list:
            words.append("a list")
        elif origin is dict or dataclasses.is_dataclass(option):
            words.append("a mapping")
        else:
            words.append(typed.NAMES.get(option, "any value"))
    return " or ".join(words)


def _choices(options: tuple[Any, ...]) -> tuple[str, ...]:
    if options == (bool,):
        return ("true", "false")
    return tuple(
        str(c) for o in options if typing.get_origin(o) is Literal for c in typing.get_args(o)
    )


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


def sweep(each: Parsed) -> RecipeError:
    """Return the message for several values where one run is asked for."""
    fix = "add -m to run each of them"
    kinds = kind_of(each.path)
    if "list" in kinds:
        fix += f", or write a list: {shell(f'{each.key}=[{value_of(each.text)}]')}"
    if "text" in kinds:
        fix += f", or quote the text: {shell(f'{each.key}={quoted(value_of(each.text))}')}"
    return RecipeError(
        f"{each.key} has several values",
        code="CFG108",
        at=each.at,
        why="this asks for a sweep",
        fix=fix,
    )


def unknown_key(each: Parsed) -> RecipeError:
    """Return the message for a key that the schema does not know, with the nearest that it does."""
    error = RecipeError(f"there is no key {each.name!r}", code="CFG102", at=each.at)
    found = check(each.path)
    depth = len(found.known)
    names: list[str] = []
    if depth and found.choices and each.package is None:
        error.why = f"the keys of {'.'.join(found.known)} are {', '.join(found.choices)}"
        near = nearest(each.path[depth], found.choices, 1)
        names = [".".join((*found.known, n, *each.path[depth + 1 :])) for n in near]
        names = [name for name in names if check(name.split(".")).ok]
    if not names:
        names = [each.key] if each.key in flat_keys() else nearest(each.key, flat_keys())
    if names:
        fixes = [with_key(each.text, name) if "=" in each.text else name for name in names]
        error.fix = " or ".join(fixes)
    elif depth:
        error.fix = "use one of these"
    else:
        error.fix = f"see the keys and their meaning in {display(recipes_root() / 'config.yaml')}"
    return error


def misused_group(each: Parsed) -> RecipeError | None:
    """Return the message for a group that is set in a way that leads to no single file."""
    is_ours = each.key in GROUPS
    if each.action not in ("change", "add", "delete") or (is_ours and each.package is not None):
        return unknown_key(each)
    if is_ours and each.action == "add":
        return RecipeError(
            f"{each.key} is there already",
            code="CFG102",
            at=each.at,
            fix=with_key(each.text, each.key),
        )
    if is_ours and isinstance(each.value, list):
        values = [spoken(value) for value in each.value] or ["..."]
        return RecipeError(
            f"{each.key} takes one name",
            code="CFG106",
            at=each.at,
            why="several files would be mixed into one",
            fix=f"{each.key}={values[0]}, or -m {each.key}={','.join(values)} to run each of them",
        )
    return None


def bad_syntax(text: str, err: Exception, parses: Callable[[str], bool]) -> RecipeError:
    """Return the message for an override that Hydra's grammar refuses.

    Args:
        text: the override.
        err: Hydra's objection.
        parses: tells whether another text would be accepted, so that no fix is promised in vain.
    """
    error = RecipeError(f"{text!r} is no override", code="CFG108", at=f"override {text!r}")
    key, equals, value = text.partition("=")
    if not equals or not key_of(text):
        near = nearest(key_of(text), flat_keys(), 1) if key_of(text) else []
        error.why = "an override is key=value"
        error.fix = f"{near[0]}=..." if near else "write key=value"
        return error
    if not parses(f"{key}=1"):
        return _bad_key(error, key, value, parses)
    error.message = f"the value of {key_of(text)} cannot be understood"
    fix = f"{key}={quoted(value)}"
    if value[:1] not in ("[", "{") and parses(fix):
        error.why = "text with spaces at its ends, quotes, brackets or commas needs quotes"
        error.fix = shell(fix)
    else:
        error.why = first_line(err)
        error.fix = "close every bracket and quote, and put quotes around text"
    return error


def _bad_key(
    error: RecipeError, key: str, value: str, parses: Callable[[str], bool]
) -> RecipeError:
    """Explain a key such as ``recipe.variants.7b.license``: a name that starts with a digit."""
    error.message = f"{key!r} is no key"
    error.why, error.fix = "a key is names joined by dots", "write key=value"
    above, *below = re.split(r"\.(?=\d)", key, maxsplit=1)
    if not below:
        return error
    mapping = value
    for part in reversed(below[0].split(".")):
        mapping = f"{{{part}: {mapping}}}"
    if parses(f"{above}={mapping}"):
        error.message = f"{key!r} cannot be written as a key"
        error.why = f"{below[0].split('.')[0]!r} starts with a digit"
        error.fix = shell(f"{above}={mapping}")
    return error


def first_line(err: BaseException) -> str:
    """Return what an exception of Hydra or OmegaConf says, without its advice."""
    advice = ("See https", "To append", "Error when parsing", "Error parsing override")
    lines = [line.strip() for line in str(err).splitlines()]
    return next(
        (line for line in lines if line and not line.startswith(advice)), type(err).__name__
    )


def from_hydra(err: BaseException, words: Sequence[str]) -> RecipeError:
    """Return the message for an exception of Hydra, OmegaConf or what they call.

    Only what cannot be checked beforehand comes here: overrides of Hydra itself, deletions and
    additions, list items.
    """
    options, missing = getattr(err, "options", None), getattr(err, "missing_cfg_file", None)
    if missing and options is not None:
        return _unknown_option(str(missing), list(options), words)
    if (mark := getattr(err, "problem_mark", None)) is not None:
        return RecipeError(
            "a config file is not valid YAML",
            code="CFG105",
            at=f"{mark.name}:{mark.line + 1}:{mark.column + 1}",
            why=str(getattr(err, "problem", err)),
            fix="look at this line and the one above it",
        )
    said = first_line(err)
    named = re.search(r"'([^']+)'", said)
    by_key = {key_of(word): word for word in words}
    text = next((word for word in words if word and word in str(err)), None)
    text = text or by_key.get(named[1] if named else said.split(" ")[0])
    error = RecipeError(
        "the configuration cannot be composed",
        code="CFG100",
        at=f"override {text!r}" if text else None,
        why=said,
        fix="change or leave out " + ("this override" if text else "what the line above names"),
    )
    key = key_of(text or "")
    if isinstance(err, RecursionError):
        error.why, error.fix = "values or defaults are nested in themselves", "remove the circle"
    elif text and said.startswith("Could not override"):
        parent = key.rpartition(".")[0]
        error.message, error.code, error.why = f"there is no key {key!r}", "CFG102", None
        error.fix = f"set {parent} as a whole" if parent else "remove it"
        if is_hydra(text):
            error.fix = "see Hydra's keys: mmtrt --cfg hydra recipe=..."
    elif text and said.startswith("Could not delete"):
        error.message, error.code = f"{key} cannot be deleted", "CFG102"
        error.why, error.fix = "it is null, or not there", "leave the override out"
    elif text and said.startswith("Could not append"):
        error.message, error.code, error.why = f"{key} is there already", "CFG102", None
        error.fix = with_key(text, key)
    elif err.__cause__ is not None and said.startswith("Error merging override"):
        error.message, error.code = f"{key} cannot be set to this", "CFG101"
        error.why = first_line(err.__cause__)
        error.fix = f"give {kind_of(key.split('.')) or 'another value'}"
        if "out of range" in error.why:
            error.fix = f"set {key.rpartition('.')[0]} as a whole"
    return error


def _unknown_option(missing: str, options: list[str], words: Sequence[str]) -> RecipeError:
    group, _, name = missing.rpartition("/")
    near = nearest(name, options, 1) or (options if len(options) == 1 else [])
    text = next((word for word in words if key_of(word) == group), None)
    return RecipeError(
        f"there is no {group} {name!r}",
        code="CFG106",
        at=f"override {text!r}" if text else None,
        why=f"the choices are {', '.join(options)}" if options else None,
        fix=f"{group}={near[0]}" if near else "use one of these",
    )


def nearest(name: str, names: Iterable[str], count: int = 3, cutoff: float = 0.6) -> list[str]:
    """Return the names that someone may have meant, best first.

    The same last part (``batch_size`` for ``run.batch_size``) counts before a similar spelling.
    """
    names = list(names)
    tail = name.rsplit(".", 1)[-1].lower()
    same_tail = [n for n in names if n.rsplit(".", 1)[-1].lower() == tail and n != name]
    if same_tail:
        return sorted(same_tail, key=lambda n: -_likeness(name, n))[:count]
    by_lower: dict[str, str] = {}
    for each in names:
        by_lower.setdefault(each.lower(), each)
    close = difflib.get_close_matches(name.lower(), by_lower, count, cutoff)
    if not close:
        tails: dict[str, list[str]] = {}
        for each in names:
            tails.setdefault(each.rsplit(".", 1)[-1].lower(), []).append(each)
        close_tails = difflib.get_close_matches(tail, tails, count, 0.7)
        return [n for t in close_tails for n in tails[t]][:count]
    return [by_lower[c] for c in close]


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def complete(word: str, groups: dict[str, list[str]]) -> list[str]:
    """Return how a half-typed override may go on, sorted.

    Args:
        word: what stands before the cursor, such as ``wor`` or ``dtype=fl``.
        groups: the choices of each group.
    """
    table = flat_keys()
    name, equals, value = word.partition("=")
    if equals:
        known = groups.get(name) or (list(table[name].choices) if name in table else [])
        return sorted(f"{name}={choice}" for choice in known if choice.startswith(value))
    found = set()
    for key in table:
        if key.startswith(name):
            head, dot, _ = key[len(name) :].partition(".")
            found.add(f"{name}{head}." if dot else f"{key}=")
    return sorted(found)
