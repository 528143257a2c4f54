from __future__ import annotations

import pytest

from mmtrt.tasks.messages import TaskError
from mmtrt.tasks.selection import Choice, Patterns, choose, is_pickle

NAMES = ["config.json", "a/b.json", "model.safetensors", "pytorch_model.bin", "x.nemo"]


def chosen(*include: str, exclude: tuple[str, ...] = (), allow_pickle: bool = False) -> Choice:
    return choose(NAMES, Patterns(include, exclude, allow_pickle), "it")


def refused(*include: str, names: list[str] | None = None) -> TaskError:
    with pytest.raises(TaskError) as caught:
        choose(NAMES if names is None else names, Patterns(include), "it")
    return caught.value


def test_everything_but_pickles_by_default() -> None:
    assert chosen() == Choice(
        ("a/b.json", "config.json", "model.safetensors"), ("pytorch_model.bin", "x.nemo"), ()
    )


def test_pickles_on_request() -> None:
    assert chosen(allow_pickle=True).files == tuple(sorted(NAMES))


def test_star_crosses_folders_and_a_slash_takes_a_folder() -> None:
    assert chosen("*.json").files == ("a/b.json", "config.json")
    assert chosen("a/").files == ("a/b.json",)
    assert chosen("*.json", exclude=("a/",)).files == ("config.json",)
    assert chosen("*.JSON", "config.json").files == ("config.json",)


def test_idle_wildcards_are_told_and_names_must_exist() -> None:
    assert chosen("*.json", "*.model").unmatched == ("*.model",)
    assert refused("*.json", "tokenizer.model").code == "MDL114"
    assert refused("b.json").fix == "name `a/b.json` instead"


def test_weights_that_are_pickles_only() -> None:
    error = refused(names=["config.json", "m.bin"])
    assert (error.code, "no safetensors at all" in error.message) == ("SEC101", True)
    error = refused("*.json", "*.bin")
    assert (error.code, "`model.safetensors`" in str(error.fix)) == ("SEC101", True)


def test_pickle_named_in_full_is_refused_not_skipped() -> None:
    assert refused("*.safetensors", "x.nemo").code == "SEC101"


def test_nothing_wanted() -> None:
    assert refused("*.gguf").code == "MDL114"
    assert refused(names=[]).why == "it holds no files"


@pytest.mark.parametrize(
    "name", ["a.bin", "A.BIN", "a/b.pt", "b.pth", "c.ckpt", "d.pkl", "e.pickle"]
)
def test_pickles(name: str) -> None:
    assert is_pickle(name)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin.index.json", "a.safetensors", "bin", "x.pt.md"]
)
def test_no_pickles(name: str) -> None:
    assert not is_pickle(name)
