"""What to say about a value that does not fit the schema, or cannot be resolved."""

from __future__ import annotations

import re
from collections.abc import Callable

import yaml

from mmtrt.config import keys, typed
from mmtrt.config.locate import Places
from mmtrt.config.names import listed, nearest
from mmtrt.config.overrides import key_of, shell, value_of
from mmtrt.errors import RecipeError


def explain(problem: typed.Problem, places: Places) -> RecipeError:
    """Return the message for one value that does not fit the schema."""
    return _EXPLAIN[problem.kind](problem, places)


def _explain_type(problem: typed.Problem, places: Places) -> RecipeError:
    name = str(problem.path[-1]) if problem.path else ""
    message = problem.message.split("; quote it")[0]
    error = RecipeError(f"{typed.dotted(problem.path)} {message}", code="CFG101")
    text = places.override(problem.path)
    raw, write = "", ""
    if text is not None:
        error.at = f"override {text!r}"
        # Only a value that stands alone can be rewritten without the grammar of overrides.
        is_alone = key_of(text) == ".".join(str(p) for p in problem.path)
        raw = value_of(text).strip() if is_alone else ""
        write = f"{key_of(text)}={{}}"
    elif found := places.node(problem.path):
        document, key, value, is_there = found
        is_name = problem.wanted == "a quoted name"
        error.at = document.at(key if is_name and key is not None else value)
        if is_there and isinstance(value, yaml.ScalarNode) and "\n" not in document.raw(value):
            raw = document.raw(value)
            write = "- {}" if isinstance(problem.path[-1], int) else f"{name}: {{}}"
        if is_name and key is not None:
            raw, write = document.raw(key), "{}:"
    if raw and "${" not in raw:
        mended = _mended(problem, raw)
        if problem.wanted in ("text", "a quoted name") and _is_bare(raw):
            error.why = f"without quotes {raw} is read as {_seen(problem)}"
        elif problem.wanted != "text" and mended and not _is_bare(raw):
            error.why = "quotes make it text"
        if mended:
            error.fix = _fixed(write.format(mended), is_override=text is not None)
    if error.fix is None:
        error.fix = _general_fix(problem, text)
    return error


def _explain_range(problem: typed.Problem, places: Places) -> RecipeError:
    name, (value,) = typed.dotted(problem.path), problem.choices
    text, last = places.override(problem.path), problem.path[-1]
    error = RecipeError(f"{name} {problem.message}", code="CFG112", at=places.where(problem.path))
    if text is None:
        error.fix = f"write {value}" if isinstance(last, int) else f"write {last}: {value}"
    elif key_of(text) == ".".join(str(part) for part in problem.path):
        error.fix = shell(f"{key_of(text)}={value}")
    else:
        error.fix = f"write {value} for {name}"
    return error


def _seen(problem: typed.Problem) -> str:
    return problem.message.split(", not ", 1)[-1].split("; quote it")[0]


def _is_bare(raw: str) -> bool:
    return raw[:1] not in ("'", '"')


def _mended(problem: typed.Problem, raw: str) -> str | None:
    """Return the value as it has to be written, if that can be told."""
    bare = raw.strip("'\"")
    wanted, seen = problem.wanted, problem.seen
    if wanted in ("text", "a quoted name"):
        is_mangled = isinstance(seen, (bool, int, float)) and _is_bare(raw)
        return f'"{raw}"' if is_mangled and '"' not in raw and "\\" not in raw else None
    if wanted == "true or false":
        yes_or_no = {"yes": "true", "on": "true", "no": "false", "off": "false"}
        yes_or_no |= {"true": "true", "false": "false", "1": "true", "0": "false"}
        return yes_or_no.get(bare.lower())
    if wanted == "a whole number" and re.fullmatch(r"[-+]?\d{1,18}", bare):
        return str(int(bare))  # 02 is text
    if wanted == "a whole number" and re.fullmatch(r"0[xob][0-9a-f]{1,15}", bare.lower()):
        return str(int(bare, 0))
    if wanted == "a whole number" and isinstance(seen, float) and seen.is_integer():
        return str(int(seen)) if abs(seen) < 1e18 else None
    if wanted == "a number" and re.fullmatch(r"[-+]?\d+(\.\d*)?", bare):
        return bare
    if wanted == "a list" and raw[:1] not in "[{" and seen is not None:
        return f"[{','.join([raw] * keys.length_of(problem.path))}]"
    return None


def _fixed(text: str, *, is_override: bool) -> str:
    return shell(text) if is_override else f"write {text}"


def _general_fix(problem: typed.Problem, override: str | None) -> str:
    name = typed.dotted(problem.path)
    if problem.wanted == "a mapping":
        return "indent its keys below it" if override is None else f"set the keys below {name}"
    example = {
        "a list": "[...]",
        "text": '"..."',
        "a whole number": "1",
        "a number": "0.5",
        "a finite number": "0.5",
        "true or false": "true",
    }.get(problem.wanted, "...")
    if override is not None:
        return f"give {problem.wanted or 'another value'}, such as {name}={example}"
    return f"write {problem.path[-1] if problem.path else name}: {example}"


def _explain_unknown(problem: typed.Problem, places: Places) -> RecipeError:
    parent = typed.dotted(problem.path[:-1])
    near = nearest(str(problem.path[-1]), problem.choices, 1)
    error = RecipeError(
        f"there is no key {typed.dotted(problem.path)!r}",
        code="CFG102",
        why=listed(f"the keys of {parent} are" if parent else "the keys are", problem.choices),
        fix=f"write {near[0]}" if near else "remove it",
    )
    text = places.override(problem.path)
    if text is not None:
        error.at = f"override {text!r}"
    elif found := places.node(problem.path):
        document, key, value, _ = found
        error.at = document.at(key if key is not None else value)
    return error


def _explain_missing(problem: typed.Problem, places: Places) -> RecipeError:
    name = problem.path[-1]
    error = RecipeError(
        f"{typed.dotted(problem.path)} must be said",
        code="CFG103",
        at=places.where(problem.path),
    )
    kind = keys.kind_of(problem.path)
    text = places.override(problem.path)
    if text is not None:
        error.fix = f"give {typed.dotted(problem.path)} a value"
    else:
        error.fix = f"add {name}:" + (f" <{kind}>" if kind else "")
    return error


def _explain_choice(problem: typed.Problem, places: Places) -> RecipeError:
    text = places.override(problem.path)
    name = typed.dotted(problem.path)
    raw = "null" if problem.seen is None else str(problem.seen)
    why = None
    found = None if text is not None else places.node(problem.path)
    if found and found[3] and isinstance(found[2], yaml.ScalarNode):
        raw = found[0].raw(found[2])
        if isinstance(problem.seen, (bool, int, float)) and _is_bare(raw):
            why = f"without quotes {raw} is read as {typed.described(problem.seen)}"
    near = nearest(raw, problem.choices, 1, cutoff=0.4)
    fix = "use one of these"
    if near and text is not None:
        is_alone = key_of(text) == ".".join(str(p) for p in problem.path)
        fix = f"{key_of(text)}={near[0]}" if is_alone else f"write {near[0]}"
    elif near:
        is_item = isinstance(problem.path[-1], int)
        fix = f"write {near[0]}" if is_item else f"write {problem.path[-1]}: {near[0]}"
    return RecipeError(
        f"{name} {problem.message}, not {raw}",
        code="CFG104",
        at=places.where(problem.path),
        why=why,
        fix=fix,
    )


_EXPLAIN: dict[str, Callable[[typed.Problem, Places], RecipeError]] = {
    "type": _explain_type,
    "unknown": _explain_unknown,
    "missing": _explain_missing,
    "choice": _explain_choice,
    "range": _explain_range,
}


def unresolved(path: typed.KeyPath, reason: str, places: Places) -> RecipeError:
    """Return the message for an interpolation that leads nowhere; ``reason`` is OmegaConf's."""
    error = RecipeError(
        f"{typed.dotted(path)} cannot be resolved",
        code="CFG109",
        at=places.where(path),
        why=reason,
    )
    override = places.override(path)
    if found := re.search(r"[Ee]nvironment variable '([^']+)'", reason):
        error.why = f"the environment variable {found[1]} is not set"
        default = f"${{oc.env:{found[1]},default}}"
        if override is not None and (plain := f"${{oc.env:{found[1]}}}") in override:
            error.fix = shell(override.replace(plain, default))
        else:
            error.fix = f"set it, or give a default: {default}"
    elif override is not None and path == ("run", "prompt"):
        # A prompt about ${sum} is more likely than a reference to another key.
        error.fix = shell(re.sub(r"(?<!\\)\$\{", r"\\${", override))
        if found := re.search(r"[Ii]nterpolation key '([^']+)' not found", reason):
            error.why = f"there is no key {found[1]!r}; the text ${{ needs a backslash before it"
    elif found := re.search(r"[Ii]nterpolation key '([^']+)' not found", reason):
        error.why = f"there is no key {found[1]!r}"
        near = nearest(found[1], keys.flat_keys(), 1)
        error.fix = f"write ${{{near[0]}}}" if near else "name a key that exists"
    elif found := re.search(r"[Uu]nsupported interpolation type (\S+)", reason):
        error.why = f"there is no resolver {found[1]}"
        error.fix = "write ${key} for another value, ${oc.env:NAME} for an environment variable"
    else:
        error.fix = "name a key that exists, or write \\${ for a dollar sign and a brace"
    return error
