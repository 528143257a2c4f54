"""Whatever is typed or saved, composing ends in a composition or in a RecipeError."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmtrt.config.compose import Composed, compose
from mmtrt.config.root import recipes_root
from mmtrt.errors import RecipeError

LLAVA = (recipes_root() / "recipe/llava.yaml").read_bytes()

quick = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

keys = st.one_of(
    st.sampled_from(
        [
            *("recipe", "backend", "quant", "executor", "tp", "run", "run.image", "paths.store"),
            *("recipe.variants", "recipe.variants.7b.facts", "recipe.stages.run.needs.engine"),
            *(
                "recipe.backends.0",
                "workload.image_size",
                "hydra",
                "hydra/launcher",
                "hydra.verbose",
            ),
            *("hydra.searchpath", "quant@run", "defaults", "_self_", "hydra.job.name", "run.x.y"),
        ]
    ),
    st.text(max_size=6),
)
values = st.one_of(
    st.sampled_from(
        [
            *("llava", "null", "", "1", "1.5", "1e999", "true", "nan", "-inf", "[1,2]", "[]", "{}"),
            *("{a: 1}", "{sm: {b: [c]}}", "1,2", "range(1,3)", "interval(0,1)", "choice(a,b)"),
            *("glob(*)", "${tp}", "${run}", "${oc.env:HOME}", "${a", "${now:%Y}", "???", "int(x)"),
            *("'", '"', "\\", "[", "../llava", "/", "file:///", "[file:///nowhere]", "llava.yaml"),
            *("sort(3,1)", "shuffle(1,2)", "str(1)", "${oc.create:{a:1}}", "${..x}", "llava@x"),
            *("${hydra:job.name}", "${oc.decode:1}", "extend_list(1)", "a b", "\u2028", "\0"),
        ]
    ),
    st.text(max_size=8),
)
override = st.one_of(
    st.builds("{}{}={}".format, st.sampled_from(["", "", "", "+", "++", "~"]), keys, values),
    st.builds("~{}".format, keys),
    st.text(max_size=10),
)


def outcome(overrides: list[str], *dirs: Path) -> Composed | RecipeError:
    try:
        return compose(overrides, dirs)
    except RecipeError as err:
        assert err.code.startswith("CFG1"), err.code
        assert err.render()
        return err


@quick
@given(st.lists(override, max_size=3))
def test_any_overrides(overrides: list[str]) -> None:
    result = outcome(["recipe=llava", *overrides])
    if isinstance(result, Composed):
        for path in (("tp",), ("run", "image", 0), ("recipe", "variants"), ("no", "where")):
            assert result.where(path)


def corrupted(flips: list[tuple[int, int]], cut: int | None, swap: tuple[int, int] | None) -> bytes:
    content = bytearray(LLAVA)
    for position, bit in flips:
        content[position % len(content)] ^= 1 << bit
    if cut is not None:
        del content[cut % len(content) :]
    lines = bytes(content).split(b"\n")
    if swap is not None:
        one, other = swap[0] % len(lines), swap[1] % len(lines)
        lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines)


@quick
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 7)), max_size=4),
    st.none() | st.integers(0, 10**6),
    st.none() | st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
)
def test_any_recipe_file(
    flips: list[tuple[int, int]], cut: int | None, swap: tuple[int, int] | None
) -> None:
    path = Path("my/recipe/broken.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(corrupted(flips, cut, swap))
    result = outcome(["recipe=broken"], Path("my"))
    if isinstance(result, RecipeError):
        for each in (result, *result.also):
            assert each.at, each.render()


YAML_PIECES = st.sampled_from(
    [
        *(
            "- ",
            "a: ",
            "b: ",
            "? ",
            ": ",
            "&x ",
            "*x ",
            "!!binary ",
            "!!set ",
            "!!python/none ",
            "<<: ",
        ),
        *("[", "]", "{", "}", ",", "|", ">", "'", '"', "#", "\n", "\n  ", "\t", "---\n", "...\n"),
        *(
            "%YAML 1.1\n",
            "defaults: ",
            "_self_",
            "llava",
            "override /quant: none",
            "${a}",
            "${oc.env:A}",
        ),
        *("recipe", "hydra: ", "searchpath: ", "# @package _global_\n", "name: ", "1", "no", "???"),
        *(
            "!!python/object/apply:os.getcwd []",
            "\ufeff",
            "\u2028",
            "\x85",
            "\r",
            "2020-01-01",
            "0x1",
        ),
    ]
)


@quick
@given(st.lists(YAML_PIECES, max_size=12))
def test_any_yaml(pieces: list[str]) -> None:
    path = Path("my/recipe/strange.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(pieces).encode())
    outcome(["recipe=strange"], Path("my"))


def test_bytes_that_are_no_text() -> None:
    """What a shell passes and Python cannot decode."""
    outcome(["recipe=llava", "run.prompt=\udcff"])
    outcome(["recipe=llava", "\udcff"])
    outcome(["recipe=\udcff"])
    outcome(["recipe=llava", 'run.prompt="\udcff"'])


@pytest.mark.parametrize(
    "text",
    [
        *("[" * 200_000, "{a: " * 100_000, "- " * 100_000, "[" * 90 + "]" * 90),
        *("\n".join(f"{' ' * depth}a:" for depth in range(1500)),),
        *("a: &x [*x]\n", "a: &x {b: *x}\n"),
    ],
    ids=["lists", "mappings", "items", "closed", "indented", "own item", "own value"],
)
def test_deep_nesting(text: str) -> None:
    path = Path("my/recipe/deep.yaml")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert isinstance(outcome(["recipe=deep"], Path("my")), RecipeError)
