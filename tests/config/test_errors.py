"""Every kind of mistake, with the whole text that the user sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mmtrt.config.compose import compose
from mmtrt.config.root import choices, display, recipes_root, search_dirs
from mmtrt.errors import RecipeError
from tests.config.conftest import MakeUserDir

TABLE: dict[str, dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("errors.yaml").read_text(encoding="utf-8")
)


def told(overrides: list[str], *config_dirs: Path, config_name: str = "config") -> str:
    """Return the text of the error that composing raises."""
    with pytest.raises(RecipeError) as caught:
        compose(overrides, config_dirs, config_name)
    return caught.value.render()


def rendered(row: dict[str, Any], at: str) -> str:
    """Return a row of the table as messages show it."""
    ((code, message),) = [(k, v) for k, v in row.items() if k.startswith("CFG")]
    parts = {"at": at} | {k: row[k] for k in ("at", "why", "fix") if k in row}
    lines = [f"  {name}: {parts[name]}" for name in ("at", "why", "fix") if parts.get(name)]
    text = "\n".join([f"error[{code}]: {message}", *lines])
    return "\n".join([text, *(rendered(each, "") for each in row.get("also", ()))])


@pytest.mark.parametrize("case", TABLE)
def test_mistake(case: str, user_dir: MakeUserDir) -> None:
    row = TABLE[case]
    words = row.get("words", ["recipe=mine"])
    if words and not words[0].startswith("recipe="):
        words = ["recipe=mine", *words]
    root = user_dir(*row.get("edit", ()))
    if "file" in row:
        # Latin-1 is what that row is about; the others are ASCII.
        (root / "recipe/mine.yaml").write_bytes(row["file"].encode("latin-1"))
    for name, text in row.get("files", {}).items():
        path = root / (name if "." in name else f"{name}.yaml")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    expected = rendered(row, f"override {words[-1]!r}" if words else "")
    known = choices("recipe", search_dirs([root]))
    for name, value in {
        "{recipes}": ", ".join(known),
        "{backends}": ", ".join(choices("backend", search_dirs())),
        "{first}": known[0],
        "{config}": display(recipes_root() / "config.yaml"),
    }.items():
        expected = expected.replace(name, value)
    assert told(words, root) == expected


def test_file_that_cannot_be_read(user_dir: MakeUserDir, monkeypatch: pytest.MonkeyPatch) -> None:
    root = user_dir()
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "mine.yaml":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert (
        told(["recipe=mine"], root)
        == """\
error[CFG105]: my/recipe/mine.yaml cannot be read
  at: my/recipe/mine.yaml
  why: Permission denied
  fix: give this user the right to read it"""
    )


def test_null_that_is_deleted() -> None:
    """Hydra 1.4 allows it, 1.3 does not."""
    try:
        assert compose(["recipe=llava", "~session"]).settings.session is None
    except RecipeError as err:
        assert (
            err.render()
            == """\
error[CFG102]: session cannot be deleted
  at: override '~session'
  why: it is null, or not there
  fix: leave the override out"""
        )


def test_missing_config_dir() -> None:
    assert (
        told(["recipe=llava"], Path("nowhere"))
        == """\
error[CFG107]: the config directory nowhere does not exist
  at: option '-cd nowhere'
  fix: name a directory that holds recipe/<name>.yaml"""
    )


def test_unknown_primary_config() -> None:
    assert (
        told(["recipe=llava"], config_name="confg")
        == """\
error[CFG106]: there is no primary config 'confg'
  at: option '-cn confg'
  why: the choices are config
  fix: -cn config"""
    )


TRAPS = {
    "1.10": "the number 1.1",
    "12e4567": "the number inf",
    "no": "the truth value false",
    "on": "the truth value true",
    "0012345": "the number 5349",
    "1_000": "the number 1000",
    "0x1f": "the number 31",
    "0b11": "the number 3",
    "12:30": "the number 750",
    "1e3": "the number 1000.0",
    ".5": "the number 0.5",
    "TRUE": "the truth value true",
    "null": "null",
    "~": "null",
}


@pytest.mark.parametrize("raw", TRAPS)
def test_yaml_trap(raw: str, user_dir: MakeUserDir) -> None:
    """What YAML makes of a bare word is told, with the word as it was written."""
    root = user_dir(("title: Mine", f"title: {raw}"))
    lines = told(["recipe=mine"], root).splitlines()
    assert lines[0] == f"error[CFG101]: recipe.title must be text, not {TRAPS[raw]}"
    assert lines[1] == "  at: my/recipe/mine.yaml:3:8"
    if TRAPS[raw] != "null":
        assert lines[2] == f"  why: without quotes {raw} is read as {TRAPS[raw]}"
        assert lines[3] == f'  fix: write title: "{raw}"'
    fixed = user_dir(("title: Mine", f'title: "{raw}"'))
    assert compose(["recipe=mine"], [fixed]).settings.recipe.title == raw


@pytest.mark.parametrize("raw", ["1.10", "12e4567", "1_000", "1e3", "true"])
def test_override_trap(raw: str, user_dir: MakeUserDir) -> None:
    lines = told(["recipe=mine", f"model.revision={raw}"], user_dir()).splitlines()
    assert lines[0].startswith("error[CFG101]: model.revision must be text, not the ")
    assert lines[3] == f"  fix: 'model.revision=\"{raw}\"'"
    fixed = compose(["recipe=mine", f'model.revision="{raw}"'], [user_dir()])
    assert fixed.settings.model.revision == raw


@pytest.mark.parametrize("raw", ["no", "on", "0x1f", "12:30", "2024-01-01", "0012345"])
def test_text_that_the_command_line_leaves_alone(raw: str, user_dir: MakeUserDir) -> None:
    composed = compose(["recipe=mine", f"model.revision={raw}"], [user_dir()])
    assert composed.settings.model.revision == raw
