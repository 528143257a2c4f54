from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmtrt.tasks.messages import TaskError
from mmtrt.tasks.weights import check_weights, is_lfs_pointer, safetensors_problem

from .hub_server import index_of, pointer_to, safetensors

WHOLE = safetensors(b"data", a=10, b=0, c=90)
FIXES = {"MDL115": "x", "MDL116": "y", "MDL117": "z"}


def header(text: object, size: int | None = None) -> bytes:
    data = text if isinstance(text, bytes) else json.dumps(text).encode()
    return struct.pack("<Q", len(data) if size is None else size) + data


def write(root: Path, **files: bytes) -> dict[str, Path]:
    paths = {}
    for name, content in files.items():
        key = name.replace("__", "/").replace("_", ".")
        paths[key] = root / key
        paths[key].parent.mkdir(parents=True, exist_ok=True)
        paths[key].write_bytes(content)
    return paths


@pytest.mark.parametrize("content", [WHOLE, safetensors(), header({}), header(b"{} " + b" " * 50)])
def test_whole_safetensors(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m").write_bytes(content)
    assert safetensors_problem(tmp_path / "m") is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "has 0 bytes, fewer than the 8"),
        (WHOLE[:7], "has 7 bytes"),
        (WHOLE[:50], "ends inside its header"),
        (WHOLE[:-1], f"is cut short: {len(WHOLE) - 1} of {len(WHOLE)} bytes"),
        (WHOLE + b"x", "is longer than its header says"),
        (b"<!DOCTYPE html><html>", "does not begin like a safetensors file"),
        (b"PK\x03\x04" + bytes(100), "ends inside its header"),
        (header(b"\xff{}"), "has a garbled header"),
        (header([]), "has a garbled header"),
        (header({"a": {}}), "has a garbled header"),
        (header({"a": {"data_offsets": [1]}}), "has a garbled header"),
        (header({"a": {"data_offsets": [3, 1]}}) + b"x", "ends before it begins"),
        (header(b"[" * 100_000), "has a garbled header"),
    ],
)
def test_damaged_safetensors(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "m").write_bytes(content)
    assert problem in str(safetensors_problem(tmp_path / "m"))


@given(st.integers(0, len(WHOLE) - 1))
def test_every_cut_is_seen(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.safetensors"
    path.write_bytes(WHOLE[:length])
    assert safetensors_problem(path)


def test_lfs_pointers(tmp_path: Path) -> None:
    for content, expected in [
        (pointer_to(WHOLE), True),
        (pointer_to(WHOLE).ljust(1023), True),
        (pointer_to(WHOLE).ljust(1024), False),
        (b"", False),
        (b"version 2", False),
    ]:
        (tmp_path / "p").write_bytes(content)
        assert is_lfs_pointer(tmp_path / "p") is expected


def test_every_kind_of_damage_is_told_once(tmp_path: Path) -> None:
    files = write(
        tmp_path,
        a_safetensors=pointer_to(WHOLE),
        tokenizer_model=pointer_to(b"x"),
        b_safetensors=WHOLE[:-1],
        c_safetensors_index_json=index_of("b.safetensors", "d.safetensors"),
        e_safetensors_index_json=b"{}",
    )
    with pytest.raises(TaskError) as caught:
        check_weights(files, lambda name: True, FIXES)
    first = caught.value
    assert [first.code, *(other.code for other in first.also)] == ["MDL115", "MDL116", "MDL117"]
    assert "`a.safetensors`, `tokenizer.model`" in first.message
    assert "`b.safetensors`, `e.safetensors.index.json`" in first.also[0].message
    assert "`d.safetensors`" in first.also[1].message


def test_index_in_a_folder_names_shards_beside_it(tmp_path: Path) -> None:
    index = index_of("a.safetensors")
    files = write(tmp_path, vae__m_safetensors_index_json=index, vae__a_safetensors=WHOLE)
    check_weights(files, lambda name: True, FIXES)


@pytest.mark.parametrize(("wanted", "fails"), [(False, False), (True, True)])
def test_index_without_any_shard_matters_only_if_weights_are_wanted(
    tmp_path: Path, wanted: bool, fails: bool
) -> None:
    files = write(tmp_path, m_safetensors_index_json=index_of("a.safetensors"))
    if not fails:
        return check_weights(files, lambda name: wanted, FIXES)
    with pytest.raises(TaskError) as caught:
        check_weights(files, lambda name: wanted, FIXES)
    assert caught.value.code == "MDL117"
    return None


def test_one_shard_of_two_is_damage_even_if_the_other_is_not_wanted(tmp_path: Path) -> None:
    index = index_of("a.safetensors", "b.safetensors")
    files = write(tmp_path, m_safetensors_index_json=index, a_safetensors=WHOLE)
    with pytest.raises(TaskError) as caught:
        check_weights(files, lambda name: False, FIXES)
    assert caught.value.code == "MDL117"
