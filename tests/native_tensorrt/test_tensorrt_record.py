from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmtrt.native.errors import NativeError
from mmtrt.native.tensorrt_record import check_fit, check_shapes, read_record

PLAN: dict[str, Any] = {
    "package": "tensorrt_rtx",
    "version": "1.7.1.116",
    "compute_capabilities": [86, 89],
    "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 4]}],
    "outputs": [{"name": "z", "dtype": "float32", "shape": ["batch", 4]}],
    "profile": {"x": {"min": [1, 4], "opt": [2, 4], "max": [2, 4]}},
    "strongly_typed": True,
    "tf32": True,
    "sha256": "0" * 64,
    "size_bytes": 10,
    "onnx_blake3": "0" * 64,
}
FITS = {"package": "tensorrt_rtx", "version": "1.7.1.116", "sm": 89}


def engine(directory: Path, **changes: Any) -> Path:
    document = {"engine": "tensorrt_rtx", "plan": PLAN, **changes}
    (directory / "config.json").write_text(json.dumps(document))
    return directory


def test_a_record_is_read(tmp_path: Path) -> None:
    record = read_record(engine(tmp_path))
    assert record.path == tmp_path / "model.plan"
    assert record.compute_capabilities == (86, 89)
    assert record.inputs == {"x": "float32"}
    assert record.profile["x"].max == (2, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"plan": None, "engine": "onnxruntime"}, "holds an engine of 'onnxruntime', not a plan"),
        ({"plan": {**PLAN, "profile": {"x": {}}}}, "incomplete or damaged"),
        ({"plan": {"package": "tensorrt"}}, "incomplete or damaged: KeyError('version')"),
    ],
)
def test_a_directory_without_a_good_record_is_refused(
    changes: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(NativeError) as error:
        read_record(engine(tmp_path, **changes))
    assert error.value.code == "ART211"
    assert message in str(error.value)


def test_a_missing_record_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(NativeError, match="--engine tensorrt or tensorrt_rtx"):
        read_record(tmp_path)


@pytest.mark.parametrize("sm", [86, 89])
def test_a_plan_fits_the_version_and_the_gpus_that_it_names(sm: int, tmp_path: Path) -> None:
    check_fit(read_record(engine(tmp_path)), **{**FITS, "sm": sm})


@pytest.mark.parametrize(
    ("here", "message"),
    [
        ({"version": "1.6.1.120"}, "version is 1.7.1.116, tensorrt_rtx 1.6.1.120 is installed"),
        ({"sm": 120}, "compute_capabilities is 86, 89, this GPU has 120"),
        ({"package": "tensorrt"}, "package is tensorrt_rtx, tensorrt is to run it"),
    ],
)
def test_the_field_that_does_not_fit_is_named(here: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(NativeError) as error:
        check_fit(read_record(engine(tmp_path)), **{**FITS, **here})
    assert error.value.code == "ART212"
    assert message in error.value.message
    assert not error.value.also


def test_all_fields_that_do_not_fit_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(NativeError) as error:
        check_fit(
            read_record(engine(tmp_path)), package="tensorrt_rtx", version="1.6.1.120", sm=120
        )
    assert str(error.value).count("error[ART212]") == 2
    assert "build the engine again with target.sm=120" in str(error.value)


@pytest.mark.parametrize("shape", [(1, 4), (2, 4)])
def test_a_call_within_the_profile_passes(shape: tuple[int, ...], tmp_path: Path) -> None:
    check_shapes(read_record(engine(tmp_path)), {"x": shape})


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"x": (3, 4)}, "x has shape [3, 4], the plan takes [1, 4] to [2, 4]"),
        ({"x": (0, 4)}, "x has shape [0, 4]"),
        ({"x": (1, 5)}, "x has shape [1, 5]"),
        ({"x": (1,)}, "x has shape [1]"),
        ({}, "x is missing"),
        ({"x": (1, 4), "y": (1,)}, "y is not an input of this plan"),
    ],
)
def test_a_call_outside_of_the_profile_is_refused(
    shapes: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(NativeError) as error:
        check_shapes(read_record(engine(tmp_path)), shapes)
    assert error.value.code == "RUN221"
    assert message in str(error.value)
