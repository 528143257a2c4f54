"""Owns the wording around the questions: the prompt, and all text for the tokenizer."""

from __future__ import annotations

from itertools import product

from mmtrt.native.shapes import BACKGROUNDS, COLOURS, QUESTIONS, SHAPES, SIDES, describe


def prompt(kind: str) -> str:
    """Wrap a question the way LLaVA-1.5 does; the processor widens ``<image>`` itself."""
    return f"USER: <image>\n{QUESTIONS[kind]} ASSISTANT:"


def corpus() -> list[str]:
    """List every text the model meets, for the tokenizer to learn from."""
    words = [*COLOURS, *SHAPES, *BACKGROUNDS, *SIDES]
    asked = [f"USER: \n{question} ASSISTANT:" for question in QUESTIONS.values()]
    told = [describe(*looks) for looks in product(COLOURS, SHAPES, SIDES, BACKGROUNDS)]
    # Answers follow "ASSISTANT:" after one space, so that is how the tokenizer must know them.
    spaced = [f" {text}" for text in (*words * len(asked), *told)]
    # One line of plain English fills the vocabulary up to its round size.
    return [*asked * len(words), *spaced, "This is a small model of simple drawings, nothing more."]
