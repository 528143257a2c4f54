"""Owns the wording: the five questions, their answers, and the prompt around them."""

from __future__ import annotations

from itertools import product

from llava_tiny.draw import BACKGROUNDS, COLOURS, SHAPES, SIDES, Scene

QUESTIONS: dict[str, str] = {
    "colour": "What colour is the shape?",
    "shape": "What shape is it?",
    "background": "What colour is the background?",
    "side": "Is the shape on the left or on the right?",
    "describe": "Describe the picture.",
}
"""Question kind to its exact wording; the model has seen no other."""


def answer(kind: str, scene: Scene) -> str:
    """Answer one kind of question about a scene."""
    if kind == "colour":
        return scene.colour
    if kind == "shape":
        return scene.shape
    if kind == "background":
        return scene.background
    if kind == "side":
        return scene.side
    if kind == "describe":
        return _describe(scene.colour, scene.shape, scene.side, scene.background)
    raise ValueError(f"no such kind of question: {kind!r}")


def _describe(colour: str, shape: str, side: str, background: str) -> str:
    article = "an" if colour[0] in "aeiou" else "a"
    return f"{article} {colour} {shape} on the {side} of a {background} background"


def prompt(kind: str) -> str:
    """Wrap a question the way LLaVA-1.5 does; the processor widens ``<image>`` itself."""
    return f"USER: <image>\n{QUESTIONS[kind]} ASSISTANT:"


def corpus() -> list[str]:
    """List every text the model meets, for the tokenizer to learn from."""
    words = [*COLOURS, *SHAPES, *BACKGROUNDS, *SIDES]
    asked = [f"USER: \n{question} ASSISTANT:" for question in QUESTIONS.values()]
    told = [_describe(*looks) for looks in product(COLOURS, SHAPES, SIDES, BACKGROUNDS)]
    # Answers follow "ASSISTANT:" after one space, so that is how the tokenizer must know them.
    spaced = [f" {text}" for text in (*words * len(asked), *told)]
    # One line of plain English fills the vocabulary up to its round size.
    return [*asked * len(words), *spaced, "This is a small model of simple drawings, nothing more."]
