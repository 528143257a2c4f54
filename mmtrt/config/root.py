"""Where YAML files and the assets that they name lie.

Places only: nothing here reads YAML or imports more than the standard library.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
from collections.abc import Iterable, Sequence
from functools import cache as memoised
from pathlib import Path
from typing import NamedTuple

from mmtrt.config.typed import KeyPath
from mmtrt.errors import RecipeError

ASSET_SCHEME = "asset://"
ENTRY_POINTS = "mmtrt.recipes"


class Source(NamedTuple):
    """A YAML file that took part in a composition."""

    path: Path
    package: str
    """Dotted place in the tree that the file fills; empty for the root."""


SetBy = tuple[KeyPath, bool, str]
"""Key path, whether everything below it was set too, and the override that did it."""


@memoised
def recipes_root() -> Path:
    """Return Hydra's root: ``_recipes`` inside a wheel, else ``recipes`` beside the package.

    Raises:
        RecipeError: CFG107, if this installation has neither.
    """
    package = Path(__file__).parent.parent
    for candidate in (package / "_recipes", package.parent / "recipes"):
        if candidate.is_dir():
            return candidate
    raise RecipeError(
        "this installation of mmtrt has no recipes",
        code="CFG107",
        at=str(package),
        why=f"neither {package / '_recipes'} nor {package.parent / 'recipes'} is a directory",
        fix="install mmtrt again",
    )


def search_dirs(config_dirs: Iterable[str | os.PathLike[str]] = ()) -> tuple[Path, ...]:
    """Return every directory that may hold recipes, first match first.

    mmtrt's own come first, then ``config_dirs`` in their order, then those that installed packages
    announce under the entry-point group ``mmtrt.recipes``.

    Raises:
        RecipeError: CFG107, if one of ``config_dirs`` is no directory.
    """
    found = [recipes_root()]
    for each in config_dirs:
        path = Path(os.path.abspath(Path(each).expanduser()))  # noqa: PTH100 - keeps symlinks
        if not path.is_dir():
            raise RecipeError(
                f"the config directory {display(path)} does not exist"
                if not path.exists()
                else f"{display(path)} is not a directory",
                code="CFG107",
                at=f"option '-cd {each}'",
                fix="name a directory that holds recipe/<name>.yaml",
            )
        found.append(path)
    found += announced_dirs(tuple(sys.path))
    return tuple(dict.fromkeys(found))


@memoised
def announced_dirs(path: tuple[str, ...]) -> tuple[Path, ...]:
    """Return the directories that installed packages announce; none of them is imported.

    Args:
        path: ``sys.path``, in which they are looked for.
    """
    if not any(map(_announces, dict.fromkeys(path))):
        return ()
    from importlib import metadata

    announced = sorted(metadata.entry_points(group=ENTRY_POINTS), key=lambda e: (e.name, e.value))
    return tuple(found for each in announced if (found := _package_dir(each.value)) is not None)


def _announces(directory: str) -> bool:
    """Return whether metadata in a directory mention recipes, without reading all of them.

    ``importlib.metadata`` takes 40 ms to tell; this, 3 ms.
    """
    try:
        if not directory or Path(directory).samefile(Path.cwd()):
            return False  # it may hold anything
        with os.scandir(directory) as listing:
            found = [each.path for each in listing if each.name.endswith("-info")]
    except OSError:
        return False
    for each in found:
        with contextlib.suppress(OSError):
            if ENTRY_POINTS.encode() in Path(each, "entry_points.txt").read_bytes():
                return True
    return False


def _package_dir(value: str) -> Path | None:
    """Return the directory that an entry point names, without importing it."""
    from importlib import util

    if Path(value).is_absolute():
        return Path(value) if Path(value).is_dir() else None
    top, *below = value.split(":")[0].replace("/", ".").split(".")
    try:
        spec = util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    bases = (spec and spec.submodule_search_locations) or ()
    places = (Path(base, *below).absolute() for base in bases)
    return next((place for place in places if place.is_dir()), None)


def config_file(dirs: Sequence[Path], name: str) -> Path | None:
    """Return the first file of this name, as Hydra does; ``recipe/llava`` needs no ``.yaml``."""
    if "\0" in name:
        return None
    file = name if name.endswith(".yaml") else f"{name}.yaml"
    for each in dirs:
        try:
            if (each / file).is_file():
                return each / file
        except OSError:
            continue
    return None


def choices(group: str, dirs: Sequence[Path]) -> list[str]:
    """Return the names of the files that a group can be set to, sorted."""
    found = set()
    for each in dirs:
        try:
            found |= {path.stem for path in (each / group).iterdir() if path.suffix == ".yaml"}
        except OSError:
            continue
    return sorted(found)


def asset(uri: str, config_dirs: Sequence[str | os.PathLike[str]] = ()) -> Path:
    """Return the place of a file or directory that ships with recipes.

    Args:
        uri: such as ``asset://llava_tiny`` or ``asset://pictures/red_circle_left_on_white.png``.
        config_dirs: the user's own directories, each of which may have ``assets/`` too.

    Raises:
        RecipeError: CFG107, if there is none of that name; CFG107 also for a name that leads out
            of ``assets/``.
    """
    name = uri.removeprefix(ASSET_SCHEME).rstrip("/")
    roots = [each / "assets" for each in search_dirs(config_dirs)]
    if name and not name.startswith("/") and ".." not in Path(name).parts and "\0" not in name:
        for each in roots:
            if (each / name).exists():
                return each / name
    names = sorted({n for each in roots for n in _names_below(each)})
    near = difflib.get_close_matches(name, names, 3, 0.5)
    listed = names if len(names) <= 12 else [*names[:12], f"{len(names) - 12} more"]
    raise RecipeError(
        f"there is no asset {name!r}",
        code="CFG107",
        why=f"the assets are {', '.join(listed)}" if names else "no asset is installed",
        fix=" or ".join(ASSET_SCHEME + each for each in near)
        or f"put it below {display(roots[-1])}",
    )


def display(path: Path) -> str:
    """Return ``path`` as messages show it: relative when it lies below the current directory."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def _names_below(directory: Path) -> list[str]:
    """Return the names of assets: directories at the top, and files two levels deep."""
    try:
        top = sorted(directory.iterdir())
    except OSError:
        return []
    names = [each.name for each in top]
    for each in top:
        if each.is_dir():
            try:
                names += [f"{each.name}/{child.name}" for child in sorted(each.iterdir())]
            except OSError:
                continue
    return names
