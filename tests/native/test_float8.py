from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
ml_dtypes = pytest.importorskip("ml_dtypes")

from mmtrt.native.float8 import LARGEST, round_weight  # noqa: E402 - needs torch


def test_bytes_are_those_of_another_implementation() -> None:
    """ml_dtypes rounds float32 to the same type in code of its own."""
    weight = np.random.default_rng(0).normal(size=(40, 300)).astype(np.float32)
    weight[3] = 0
    weight[4] *= 1e-30
    weight[5] *= 1e30
    found, scale = round_weight(weight)
    scaled = (weight / scale[:, None]).clip(-LARGEST, LARGEST)
    assert np.array_equal(found, scaled.astype(ml_dtypes.float8_e4m3fn).view(np.uint8))
    assert float(ml_dtypes.finfo(ml_dtypes.float8_e4m3fn).max) == LARGEST


def test_the_largest_of_an_output_is_exact_and_the_others_are_near() -> None:
    weight = np.random.default_rng(1).normal(size=(50, 64)).astype(np.float32)
    found, scale = round_weight(weight)
    again = found.view(ml_dtypes.float8_e4m3fn).astype(np.float32) * scale[:, None]
    error, size = np.abs(again - weight), np.abs(weight)
    # Three bits after the leading one; below 2^-6 of a scale steps are 2^-9 wide.
    assert (error <= np.maximum(size / 16, scale[:, None] * 2**-10) * 1.0001).all()
    np.testing.assert_allclose(
        error[np.arange(50), size.argmax(1)], 0, atol=float(size.max()) * 1e-6
    )
