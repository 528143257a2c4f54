"""The readout of random features: its arithmetic, on features that are drawn here."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.readout import (
    CLASSES,
    HELD_OUT,
    LENGTH,
    REPLACED,
    RIDGE,
    TRAINING,
    draw,
    fit,
    right,
)


def test_held_out_prompts_are_others_of_the_same_templates() -> None:
    training, held_out = draw(1, 16384)
    assert training.prompts.shape == (TRAINING, LENGTH)
    assert held_out.prompts.shape == (HELD_OUT, LENGTH)
    assert not {*map(tuple, training.prompts)} & {*map(tuple, held_out.prompts)}
    assert np.bincount(held_out.classes).tolist() == [HELD_OUT // CLASSES] * CLASSES
    for number in range(CLASSES):
        of_class = training.prompts[training.classes == number]
        template = np.array([np.bincount(column).argmax() for column in of_class.T])
        changed = (held_out.prompts[held_out.classes == number] != template).mean()
        assert abs(changed - REPLACED) < 0.1


def test_fit_is_the_least_squares_solution_with_the_ridge_as_rows() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(40, 90))
    classes: Any = np.arange(40) % CLASSES
    readout = fit(logits, classes)
    centred = logits - logits.mean(axis=0)
    ridge = RIDGE * (centred**2).sum() / len(logits)
    wanted = np.eye(CLASSES)[classes]
    rows = np.vstack([centred, np.sqrt(ridge) * np.eye(90)])
    goals = np.vstack([wanted - wanted.mean(axis=0), np.zeros((90, CLASSES))])
    expected = np.linalg.lstsq(rows, goals, rcond=None)[0]
    np.testing.assert_allclose(readout.weights, expected, atol=1e-9)


def test_labels_without_a_pattern_are_read_by_chance_only() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(2, 320, 50))
    classes: Any = np.arange(320) % CLASSES
    readout = fit(logits[0], classes)
    assert right(readout.scores(logits[1]), classes).sum() < 2 * 320 / CLASSES
    centres = 3 * random.normal(size=(CLASSES, 50))[classes]
    readout = fit(logits[0] + centres, classes)
    assert right(readout.scores(logits[1] + centres), classes).sum() > 0.95 * 320
