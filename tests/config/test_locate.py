from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from mmtrt.config.locate import Places
from mmtrt.config.root import Source, recipes_root
from mmtrt.config.yaml_file import find, loader, read
from mmtrt.errors import RecipeError

SCALARS = [
    *("1.10", "12e4567", "no", "0012345", "1_000", "on", "0x1f", "yes", "n", "y", "Off", "0b101"),
    *(
        "12:30",
        "12:30.5",
        "1e3",
        "1E-3",
        "+1",
        "-.5",
        ".5e+3",
        ".inf",
        "-.INF",
        ".nan",
        "~",
        "null",
    ),
    *(
        "2024-01-01",
        "2024-01-01T10:00:00Z",
        "0o17",
        "017",
        "1.",
        "1_0.5_0",
        "=",
        "true",
        "'1'",
        "a",
    ),
    *("b234b80", "1234567", "123e456", "e45", "-", "0x", "1,000", "1 2", "%1", '"no"', "007", "08"),
]


@pytest.mark.parametrize("text", SCALARS)
def test_scalars_are_read_as_omegaconf_does(text: str) -> None:
    """The catalogue and the messages about quotes rely on this."""

    def outcome(load: Any) -> Any:
        try:
            return repr(load(f"a: {text}\n"))
        except yaml.YAMLError:
            return "error"

    ours = outcome(lambda t: yaml.load(t, Loader=loader()))
    assert ours == outcome(lambda t: OmegaConf.to_container(OmegaConf.load(io.StringIO(t))))


def write(text: str) -> Path:
    path = Path("file.yaml")
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("path", "at", "raw"),
    [
        (("a",), "file.yaml:2:4", "12e4567"),
        (("ü", "b", 1), "file.yaml:3:14", "'zwei'"),
        (("ü", "c"), "file.yaml:4:6", '"ß é"'),
        (("ü", "d"), "file.yaml:4:16", "0012"),
    ],
)
def test_places_and_tokens(path: tuple[Any, ...], at: str, raw: str) -> None:
    document = read(write("# ü\na: 12e4567\nü: {b: [eins,'zwei'],\n  c: \"ß é\", d: 0012}\n"))
    _, node = find(document.root, path)
    assert document.at(node) == at
    assert document.raw(node) == raw


def test_key_that_yaml_mangles_is_found() -> None:
    document = read(write("on: 1\n7: 2\n"))
    assert find(document.root, ("True",))[1].value == "1"
    assert find(document.root, ("on",))[1].value == "1"
    assert find(document.root, ("7",))[1].value == "2"


def test_path_that_leads_nowhere_tells_how_far_it_went() -> None:
    document = read(write("a: {b: [1]}\n"))
    for path, depth in ((("x",), 0), (("a", "x"), 1), (("a", "b", 5), 2), (("a", "b", 0, "c"), 3)):
        with pytest.raises(KeyError) as caught:
            find(document.root, path)
        assert caught.value.args == (depth,)


def test_later_file_is_the_place() -> None:
    first, last = Path("a.yaml"), Path("b.yaml")
    first.write_text("x: 1\ny: 2\n")
    last.write_text("x: 3\n")
    places = Places([Source(first, "p.q"), Source(last, "p.q")], [])
    assert places.where(("p", "q", "x")) == "b.yaml:1:4"
    assert places.where(("p", "q", "y")) == "a.yaml:2:4"
    assert places.where(("p", "q", "z")) == "b.yaml:1:1"


def test_nothing_known_is_the_key_itself() -> None:
    assert Places([], []).where(("run", "image", 1)) == "run.image[1]"
    gone = Places([Source(Path("gone.yaml"), "")], [])
    assert gone.where(("tp",)) == "tp"


def test_override_below_a_list_and_above_a_mapping() -> None:
    places = Places(
        [], [(("run", "image"), True, "run.image=[a]"), (("recipe",), False, "recipe=x")]
    )
    assert places.where(("run", "image", 0)) == "override 'run.image=[a]'"
    assert places.where(("run",)) == "run"
    assert places.where(("recipe",)) == "override 'recipe=x'"
    assert places.where(("recipe", "name")) == "recipe.name"


def test_windows_line_ends_keep_places() -> None:
    Path("crlf.yaml").write_bytes(b"a: 1\r\nb:\r\n  c: 2\r\n")
    document = read(Path("crlf.yaml"))
    assert document.at(find(document.root, ("b", "c"))[1]) == "crlf.yaml:3:6"


def test_byte_order_mark_is_skipped() -> None:
    Path("bom.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert find(read(Path("bom.yaml")).root, ("a",))[1].value == "1"


def test_duplicates_in_merged_mappings_are_none() -> None:
    read(write("a: &a {x: 1}\nb: {<<: *a, x: 2}\nc: {<<: *a}\n"))


def test_duplicate_inside_of_a_list() -> None:
    with pytest.raises(RecipeError, match="'x' stands twice"):
        read(write("a: [{x: 1, x: 2}]\n"))


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("# @package _global_\na: 1\n", "_global_"),
        ("# hi\n\n# @package a.b\n", "a.b"),
        ("a: 1", None),
    ],
)
def test_package_line(text: str, package: str | None) -> None:
    assert read(write(text)).package() == package


def test_shipped_files_are_read() -> None:
    for path in recipes_root().rglob("*.yaml"):
        assert read(path).root is not None
