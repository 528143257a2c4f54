"""Owns the dozen sample pictures: which looks they have, drawing them, and their labels."""

from __future__ import annotations

import json
import random
from pathlib import Path

from PIL import Image

from mmtrt.native.shapes import QUESTIONS, Scene, answer, draw, place

# Chosen before any training, so that every colour comes twice, every shape three times, every
# background four times and every side six times: colour, shape, side, background.
LOOKS = (
    ("red", "circle", "left", "white"),
    ("green", "square", "right", "black"),
    ("blue", "triangle", "left", "grey"),
    ("yellow", "cross", "right", "black"),
    ("purple", "circle", "right", "grey"),
    ("orange", "square", "left", "white"),
    ("red", "triangle", "right", "black"),
    ("green", "cross", "left", "grey"),
    ("blue", "square", "right", "white"),
    ("yellow", "triangle", "left", "grey"),
    ("purple", "cross", "left", "white"),
    ("orange", "circle", "right", "black"),
)
# Sizes a user's own pictures might have; the processor brings all of them to 48 pixels.
SIDES_PX = (96, 128, 224, 336)


def sample_scenes(seed: int) -> list[Scene]:
    """Place the dozen shapes; their stream is neither the training nor the held-out one."""
    rng = random.Random(f"pictures:{seed}")
    return [
        place(rng, colour, shape, background, side) for colour, shape, side, background in LOOKS
    ]


def write(out: Path, seed: int) -> None:
    """Draw the dozen into ``out`` and put every right answer into ``labels.json``."""
    out.mkdir(parents=True, exist_ok=True)
    labels = {}
    for index, scene in enumerate(sample_scenes(seed)):
        picture = f"{scene.name}.png"
        side_px = SIDES_PX[index % len(SIDES_PX)]
        Image.fromarray(draw(scene, side_px)).save(out / picture, optimize=True)
        labels[picture] = {text: answer(kind, scene) for kind, text in QUESTIONS.items()}
    text = json.dumps(labels, indent=2, sort_keys=True)
    (out / "labels.json").write_text(text + "\n", encoding="utf-8")


def count_right(told: dict[str, dict[str, str]], out: Path) -> int:
    """Count the answers, told per picture and question, that equal the labels in ``out``."""
    labels = json.loads((out / "labels.json").read_text(encoding="utf-8"))
    return sum(
        told[picture][question] == wanted
        for picture, answers in labels.items()
        for question, wanted in answers.items()
    )
