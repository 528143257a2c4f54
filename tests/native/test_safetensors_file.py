from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmtrt.native.errors import NativeError
from mmtrt.native.safetensors_file import PlannedTensor, read_header, write_tensors


def planned(name: str, dtype: str, values: np.ndarray) -> PlannedTensor:
    return PlannedTensor(name, dtype, values.shape, lambda: [values.tobytes()])


def test_the_library_reads_what_we_write(tmp_path: Path) -> None:
    load_file = pytest.importorskip("safetensors.numpy").load_file
    arrays = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "a": np.arange(5, dtype=np.uint8),
        "ü": np.arange(4, dtype=np.float16),
        "empty": np.zeros((0, 3), dtype=np.float32),
    }
    dtypes = {"float32": "F32", "uint8": "U8", "float16": "F16"}
    path = tmp_path / "x.safetensors"
    size = write_tensors(path, [planned(n, dtypes[str(v.dtype)], v) for n, v in arrays.items()])
    assert size == path.stat().st_size
    read = load_file(path)
    assert read.keys() == arrays.keys()
    for name, values in arrays.items():
        np.testing.assert_array_equal(read[name], values)


def test_our_bytes_equal_the_librarys(tmp_path: Path) -> None:
    numpy_files = pytest.importorskip("safetensors.numpy")
    arrays = {"b": np.ones((2, 3), np.float32), "a": np.ones(4, np.float16)}
    theirs = tmp_path / "theirs"
    numpy_files.save_file(arrays, theirs, metadata={"format": "pt"})
    write_tensors(
        tmp_path / "ours",
        [planned("a", "F16", arrays["a"]), planned("b", "F32", arrays["b"])],
    )
    assert (tmp_path / "ours").read_bytes() == theirs.read_bytes()


def header(**entry: object) -> bytes:
    tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **entry}
    encoded = json.dumps({"x": tensor}).encode()
    return len(encoded).to_bytes(8, "little") + encoded + b"\0" * 8


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(header())
    assert b"".join(read_header(tmp_path / "x")["x"].chunks()) == b"\0" * 8


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "header of 0 bytes in a file of 0"),
        (b"\xff" * 8, "header of"),
        (b"\x05" + b"\0" * 7 + b"hello", "not a safetensors file"),
        (b"\x02" + b"\0" * 7 + b"[]", "not a safetensors file"),
        (header()[:-1], "beyond the end"),
        (header(dtype="F31"), "unknown type F31"),
        (header(shape=[3]), "has 8 bytes for shape"),
        (header(shape=[-2]), "has 8 bytes for shape"),
        (header(data_offsets=[-8, 0]), "has 8 bytes"),
        (header(data_offsets=None), "not a safetensors file"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, content: bytes, named: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(NativeError, match=named) as caught:
        read_header(tmp_path / "x")
    assert caught.value.code == "MDL205"
