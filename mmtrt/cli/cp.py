"""``mmtrt cp RECIPE FILE``: a recipe of your own, to start from."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

from mmtrt.cli.arguments import parse
from mmtrt.config.catalogue import recipe_path
from mmtrt.errors import UsageError

USAGE = """\
mmtrt cp RECIPE DIR/recipe/NAME.yaml [-n] [--force] [--make-parents] [--json] [-cd DIR]

Copy a recipe to a file of your own. Only its `name:` changes, to NAME; comments stay. Use it with
`mmtrt -cd DIR recipe=NAME`.

  -n, --no-clobber   leave a file that is there as it is
  --force            overwrite a file that is there
  --make-parents     make the directories that are missing

  mmtrt cp llava my_recipes/recipe/my_llava.yaml --make-parents
"""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_NAME_LINE = re.compile(r"^name:([ \t]*)(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s#]+)", re.MULTILINE)


def main(args: list[str]) -> int:
    """Copy one recipe."""
    switches = ("-n", "--no-clobber", "--force", "--make-parents", "--json")
    arguments = parse("cp", args, USAGE, switches)
    if arguments is None:
        return 0
    words = [*arguments.words, *arguments.overrides]
    if len(words) != 2:
        raise UsageError(
            "mmtrt cp needs a recipe and a file",
            code="CFG002",
            fix="mmtrt cp llava my_recipes/recipe/my_llava.yaml --make-parents",
        )

    recipe, target = words[0], Path(words[1])
    _check_target(recipe, target)
    source = recipe_path(recipe, arguments.config_dirs)
    name = target.stem
    text = renamed(source.read_bytes().decode(), name)
    status = "copied"
    if target.exists() and not arguments.on("--force"):
        if not (arguments.on("-n") or arguments.on("--no-clobber")):
            raise UsageError(
                f"{target} is there already",
                code="CFG003",
                fix="another name, --force to overwrite it, or -n to leave it",
            )
        status = "kept"
    else:
        _write(target, text, arguments.on("--make-parents"))
    launch = shlex.join(["mmtrt", "-cd", str(target.parent.parent), f"recipe={name}"])
    if arguments.on("--json"):
        document = {
            "schema": 1,
            "status": status,
            "source": str(source),
            "file": str(target),
            "launch": launch,
        }
        print(json.dumps(document, indent=1, ensure_ascii=False))
    elif status == "kept":
        print(f"{target} is there already; left as it is", file=sys.stderr)
    else:
        print(f"Copied {recipe} to {target}\nUse it: {launch}")
    return 0


def renamed(text: str, name: str) -> str:
    """Return a recipe with another ``name:``; nothing else changes."""
    # Words like `on` and `null` are no text for YAML unless they are quoted.
    is_word = name.lower() in {"on", "off", "yes", "no", "true", "false", "null", "y", "n"}
    value = f'"{name}"' if is_word else name
    edited, count = _NAME_LINE.subn(lambda found: f"name:{found[1] or ' '}{value}", text, count=1)
    return edited if count else f"name: {value}\n{text}"


def _check_target(recipe: str, target: Path) -> None:
    """Refuse a place where no ``-cd`` would find the recipe."""
    is_file = target.suffix == ".yaml" and not target.is_dir()
    stem = target.stem if is_file and _NAME.fullmatch(target.stem) else f"my_{recipe}"
    if not is_file or target.absolute().parent.name != "recipe":
        inside = target.parent if is_file else target
        inside = inside if inside.name == "recipe" else inside / "recipe"
        raise UsageError(
            f"a recipe must be a file DIR/recipe/NAME.yaml, not {target}",
            code="CFG003",
            why="mmtrt -cd DIR recipe=NAME looks for it there",
            fix=shlex.join(["mmtrt", "cp", recipe, str(inside / f"{stem}.yaml"), "--make-parents"]),
        )
    if not _NAME.fullmatch(target.stem):
        raise UsageError(
            f"{target.stem!r} is no name for a recipe",
            code="CFG003",
            why="it is typed as recipe=NAME: letters, digits, _ and -, a letter first",
            fix=shlex.join(["mmtrt", "cp", recipe, str(target.with_stem(stem))]),
        )


def _write(target: Path, text: str, make_parents: bool) -> None:
    if not target.parent.is_dir() and not make_parents:
        raise UsageError(
            f"there is no directory {target.parent}", code="CFG003", fix="add --make-parents"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode())
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written: {error.strerror}", code="CFG003", why=str(error)
        ) from error
