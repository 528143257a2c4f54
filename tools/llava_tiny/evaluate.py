"""Owns the measuring: greedy answers from the real processor, compared word for word."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from llava_tiny.questions import prompt
from mmtrt.native.shapes import QUESTIONS, Scene, answer, draw


def ask(
    model: LlavaForConditionalGeneration,
    processor: LlavaProcessor,
    images: Sequence[Image.Image],
    prompts: Sequence[str],
) -> list[str]:
    """Answer one prompt per image in one left-padded batch, greedily, until EOS."""
    inputs = processor(images=list(images), text=list(prompts), padding=True, return_tensors="pt")
    with torch.inference_mode():
        tokens = model.generate(**inputs)
    told = tokens[:, inputs["input_ids"].shape[1] :]
    return [text.strip() for text in processor.batch_decode(told, skip_special_tokens=True)]


def accuracy(
    model: LlavaForConditionalGeneration,
    processor: LlavaProcessor,
    scenes: Sequence[Scene],
    side_px: int,
    batch: int = 100,
) -> dict[str, float]:
    """Return the share of exactly right answers per question kind.

    Args:
        model: Put into evaluation mode here.
        processor: Must pad on the left.
        scenes: Asked all five questions each.
        side_px: Size the pictures are drawn at; the processor brings them to 48 pixels.
        batch: Pictures asked at once.
    """
    model.eval()
    right = dict.fromkeys(QUESTIONS, 0)
    for start in range(0, len(scenes), batch):
        part = scenes[start : start + batch]
        images = [Image.fromarray(draw(scene, side_px)) for scene in part]
        for kind in QUESTIONS:
            told = ask(model, processor, images, [prompt(kind)] * len(part))
            right[kind] += sum(
                text == answer(kind, scene) for text, scene in zip(told, part, strict=True)
            )
    return {kind: count / len(scenes) for kind, count in right.items()}
