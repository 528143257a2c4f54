from __future__ import annotations

import pytest

from mmtrt.artifacts.layout import (
    is_key,
    is_kind,
    is_lock_name,
    lock_name,
    require_name,
    require_place,
)
from mmtrt.errors import ArtifactError
from tests.artifacts.filling import HOSTILE

KEY = "0123456789abcdef" * 4


def test_kinds_and_keys() -> None:
    assert is_kind("build_llm") and is_kind("build-vision") and is_kind("run2")
    assert not any(map(is_kind, ("", ".staging", "a/b", "..", "2a", "_a", "a b", "é", "a\n")))
    assert is_key(KEY)
    assert not any(map(is_key, ("", KEY[:-1], KEY.upper(), KEY + "\n", "../" + KEY[3:])))
    for kind, key in (("..", KEY), ("convert", "../../x")):
        with pytest.raises(ArtifactError) as caught:
            require_place(kind, key)
        assert caught.value.code == "ART144"


def test_only_locks_of_keys_are_the_stores_own() -> None:
    assert is_lock_name(lock_name("build-llm", KEY))
    assert not is_lock_name("gpu-GPU-8a6f.lock")
    assert not is_lock_name(KEY)
    assert not is_lock_name(f"convert-{KEY}")


@pytest.mark.parametrize("name", [*HOSTILE, "llava-1.5-7b-hf", "x" * 255, "work"])
def test_models_may_have_odd_names(name: str) -> None:
    require_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".hidden",
        "a/b",
        "/",
        "a\0b",
        "manifest.json",
        "stderr.log",
        "ü" * 128,
        "\udc80",
    ],
)
def test_but_not_names_that_are_no_directory(name: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        require_name(name)
    assert caught.value.code == "ART144"
