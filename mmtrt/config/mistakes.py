"""What to say about an override that is wrong, and about what Hydra objects to."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from mmtrt.config import keys
from mmtrt.config.names import nearest
from mmtrt.config.overrides import (
    GROUPS,
    Parsed,
    is_hydra,
    key_of,
    quoted,
    shell,
    spoken,
    value_of,
    with_key,
)
from mmtrt.config.root import display, recipes_root
from mmtrt.errors import RecipeError


def sweep(each: Parsed) -> RecipeError:
    """Return the message for several values where one run is asked for."""
    kinds = keys.kind_of(each.path)
    fixes = ["add -m to run each of them"]
    if "list" in kinds:
        fixes.append(f"write a list: {shell(f'{each.key}=[{value_of(each.text)}]')}")
    if "text" in kinds:
        text = shell(f"{each.key}={quoted(value_of(each.text))}")
        # A comma before a space is one of a sentence.
        fixes.insert(0 if re.search(r",\s", each.text) else len(fixes), f"quote the text: {text}")
    fix = ", or ".join(fixes)
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
    found = keys.check(each.path)
    depth = len(found.known)
    names: list[str] = []
    if depth and found.choices and each.package is None:
        error.why = f"the keys of {'.'.join(found.known)} are {', '.join(found.choices)}"
        near = nearest(each.path[depth], found.choices, 1)
        names = [".".join((*found.known, n, *each.path[depth + 1 :])) for n in near]
        names = [name for name in names if keys.check(name.split(".")).ok]
    if not names:
        names = [each.key] if each.key in keys.flat_keys() else nearest(each.key, keys.flat_keys())
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
        near = nearest(key_of(text), keys.flat_keys(), 1) if key_of(text) else []
        error.why = "an override is key=value"
        error.fix = f"{near[0]}=..." if near else "write key=value"
        return error
    if not parses(f"{key}=1"):
        return _bad_key(error, key, value, parses)
    error.message = f"the value of {key_of(text)} cannot be understood"
    fix = f"{key}={quoted(value)}"
    kinds = keys.kind_of(key_of(text).split("."))
    bare = value.strip().rstrip(",;").rstrip()
    if kinds and "text" not in kinds and bare != value and parses(f"{key}={bare}"):
        error.why = f"{key_of(text)} must be {kinds}"
        error.fix = shell(f"{key}={bare}")
    elif (value[:1] not in ("[", "{") or (value[0] == "{" and "text" in kinds)) and parses(fix):
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
        error.fix = f"give {keys.kind_of(key.split('.')) or 'another value'}"
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
