from __future__ import annotations

import json
import struct

import pytest

from mmtrt.artifacts.compare import compare_files, fields_that_differ, first_difference_in
from mmtrt.artifacts.digest import digest_tree


def safetensors(path, tensors: dict[str, bytes], dtype="F32", **metadata: str):
    """Write a file as the format's description has it; four bytes an element."""
    header, at = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    for name, data in tensors.items():
        shape = [len(data) // 4]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensors.values()))
    return path


def test_files_are_told_apart_by_content(tmp_path):
    for name, files in {"a": {"x": "1", "y": "2"}, "b": {"x": "1", "y": "3", "z": "4"}}.items():
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    old, new = (digest_tree(tmp_path / name).values() for name in "ab")
    assert [(d.path, d.what) for d in compare_files(old, new)] == [
        ("y", "differs"),
        ("z", "added"),
    ]
    assert [(d.path, d.what) for d in compare_files(new, old)] == [
        ("y", "differs"),
        ("z", "missing"),
    ]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"a": bytes(16), "b": b"\0" * 11 + b"\1"}, "tensor b: element 2 of 3"),
        ({"a": bytes(16), "c": bytes(12)}, "tensor b is missing"),
        ({"a": bytes(16), "b": bytes(12), "c": bytes(4)}, "tensor c is new"),
        ({"a": bytes(12), "b": bytes(16)}, "tensor a: shape [4] and [3]"),
        ({"b": bytes(12), "a": bytes(16)}, "the order of the tensors"),
    ],
)
def test_the_first_tensor_that_differs_is_named(tmp_path, other, expected):
    old = safetensors(tmp_path / "old.safetensors", {"a": bytes(16), "b": bytes(12)})
    new = safetensors(tmp_path / "new.safetensors", other)
    assert first_difference_in(old, new) == expected


def test_types_and_metadata_are_compared_too(tmp_path):
    old = safetensors(tmp_path / "old.safetensors", {"a": bytes(8)}, format="pt")
    new = safetensors(tmp_path / "new.safetensors", {"a": bytes(8)}, "I32", format="pt")
    assert first_difference_in(old, new) == "tensor a: dtype F32 and I32"
    new = safetensors(tmp_path / "new.safetensors", {"a": bytes(8)}, format="np")
    assert first_difference_in(old, new) == 'metadata: format: "pt" and "np"'


def test_real_safetensors_are_read(tmp_path):
    numpy = pytest.importorskip("numpy")
    save = pytest.importorskip("safetensors.numpy").save_file
    values = numpy.arange(12, dtype=numpy.float16).reshape(3, 4)
    save({"w": values, "b": values[0].copy()}, tmp_path / "a.safetensors")
    values[2, 1] += 1
    save({"w": values, "b": values[0].copy()}, tmp_path / "b.safetensors")
    told = first_difference_in(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert told == "tensor w: element 9 of 12"


def test_json_tells_the_field_and_other_files_the_byte(tmp_path):
    (tmp_path / "a.json").write_text('{"x": {"y": [1, 2]}}')
    (tmp_path / "b.json").write_text('{"x": {"y": [1, 3]}}')
    (tmp_path / "c.json").write_text('{"x":{"y":[1,2]}}')
    assert first_difference_in(tmp_path / "a.json", tmp_path / "b.json") == "x.y[1]: 2 and 3"
    assert first_difference_in(tmp_path / "a.json", tmp_path / "c.json") == "the layout alone"
    (tmp_path / "a.bin").write_bytes(bytes(3 << 20))
    (tmp_path / "b.bin").write_bytes(bytes(2 << 20) + b"\1" + bytes((1 << 20) - 1))
    told = first_difference_in(tmp_path / "a.bin", tmp_path / "b.bin")
    assert told == f"byte {2 << 20} of {3 << 20} and {3 << 20}"
    (tmp_path / "c.bin").write_bytes(bytes(5))
    assert first_difference_in(tmp_path / "a.bin", tmp_path / "c.bin").startswith("byte 5 of")
    assert first_difference_in(tmp_path / "a.bin", tmp_path / "a.bin") is None


def test_damaged_headers_are_compared_as_bytes(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"\xff" * 40)
    (tmp_path / "b.safetensors").write_bytes(b"\xff" * 39 + b"x")
    told = first_difference_in(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert told == "byte 39 of 40 and 40"


def test_every_leaf_that_differs():
    old, new = {"a": [1, {"b": 2}], "c": 3}, {"a": [1, {"b": 4}], "d": [5]}
    assert list(fields_that_differ(old, new)) == [
        ("a[1].b", 2, 4),
        ("c", 3, None),
        ("d", None, [5]),
    ]
