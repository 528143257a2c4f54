"""Owns the two training phases: the vision tower alone, then the whole model on answers only.

Pictures are drawn as they are needed, so no picture is seen twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import nn
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from llava_tiny.checkpoint import IMAGE_PX, IMAGE_TOKENS
from llava_tiny.questions import prompt
from mmtrt.native.shapes import (
    BACKGROUNDS,
    COLOURS,
    QUESTIONS,
    SHAPES,
    SIDES,
    Scene,
    answer,
    draw,
)

IGNORED = -100
"""Label that torch's cross entropy leaves out."""

Log = Callable[[str], None]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast each phase trains."""

    tower_steps: int
    tower_batch: int
    joint_steps: int
    joint_batch: int
    tower_rate: float = 2e-3
    """Highest learning rate of the first phase."""
    joint_rate: float = 1e-3
    """Highest learning rate of projector and language model in the second phase."""
    joint_tower_rate: float = 3e-4
    """The same for the tower, which has learned already and would forget at the full rate."""


# Measured: 1000 and 500 steps take 205 s on two idle cores, so these take under five minutes.
# Without the first phase shape stays at .30 after 700 joint steps. With one rate for everything in
# the second phase shape ended at .94, with a lower rate for the tower at .98 (both after 1000 and
# 500 steps).
FULL = Schedule(tower_steps=1300, tower_batch=96, joint_steps=700, joint_batch=64)
QUICK = Schedule(tower_steps=12, tower_batch=32, joint_steps=8, joint_batch=16)


def pixel_values(batch: list[Scene], processor: LlavaProcessor) -> torch.Tensor:
    """Draw ``[B, 3, 48, 48]`` pixels normalised as the image processor does, only much faster."""
    pixels = np.stack([draw(scene, IMAGE_PX) for scene in batch])
    images = processor.image_processor
    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() * images.rescale_factor
    mean = torch.tensor(images.image_mean).view(1, 3, 1, 1)
    std = torch.tensor(images.image_std).view(1, 3, 1, 1)
    return ((scaled - mean) / std).contiguous()


class TowerHeads(nn.Module):
    """One linear classifier per fact of a scene, on the mean of the tower's patch features."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.classes: dict[str, tuple[str, ...]] = {
            "colour": tuple(COLOURS),
            "shape": SHAPES,
            "background": tuple(BACKGROUNDS),
            "side": SIDES,
        }
        self.heads = nn.ModuleDict(
            {fact: nn.Linear(hidden, len(names)) for fact, names in self.classes.items()}
        )

    def forward(self, features: torch.Tensor, batch: list[Scene]) -> dict[str, torch.Tensor]:
        """Return the loss of each fact for features ``[B, 36, D]``: scenes, patches, hidden."""
        pooled = features.mean(dim=1)
        losses = {}
        for fact, names in self.classes.items():
            wanted = torch.tensor([names.index(getattr(scene, fact)) for scene in batch])
            losses[fact] = nn.functional.cross_entropy(self.heads[fact](pooled), wanted)
        return losses


class _Stepper:
    """AdamW with one-cycle learning rates and clipped gradients."""

    def __init__(self, groups: Sequence[tuple[Iterable[nn.Parameter], float]], steps: int) -> None:
        parts = [(list(parameters), rate) for parameters, rate in groups]
        self._parameters = [parameter for part, _ in parts for parameter in part]
        self._optimizer = torch.optim.AdamW(
            [{"params": part, "lr": rate} for part, rate in parts], weight_decay=0.01
        )
        self._rates = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, max_lr=[rate for _, rate in parts], total_steps=steps, pct_start=0.1
        )

    def step(self, loss: torch.Tensor) -> None:
        """Move all parameters one step down the slope of the loss."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        self._rates.step()


def train_tower(
    model: LlavaForConditionalGeneration,
    processor: LlavaProcessor,
    stream: Iterator[Scene],
    schedule: Schedule,
    log: Log,
) -> None:
    """Teach the tower to tell scenes apart, at the layer that LLaVA reads; heads are thrown away.

    Patches of 8 pixels carry little of a shape each, and the answers' loss alone is too weak a
    signal to teach the tower to combine them.
    """
    config = model.config
    heads = TowerHeads(config.vision_config.hidden_size)
    tower = model.model.vision_tower
    parameters = [*tower.parameters(), *heads.parameters()]
    stepper = _Stepper([(parameters, schedule.tower_rate)], schedule.tower_steps)
    model.train()
    for step in range(1, schedule.tower_steps + 1):
        batch = list(islice(stream, schedule.tower_batch))
        seen = tower(pixel_values(batch, processor), output_hidden_states=True)
        losses = heads(seen.hidden_states[config.vision_feature_layer][:, 1:], batch)
        stepper.step(torch.stack(list(losses.values())).sum())
        if step % 100 == 0 or step == schedule.tower_steps:
            told = " ".join(f"{fact} {value.item():.3f}" for fact, value in losses.items())
            log(f"tower {step}/{schedule.tower_steps}: {told}")


class Dialogues:
    """Turns scenes and question kinds into right-padded token rows with labels."""

    def __init__(self, processor: LlavaProcessor) -> None:
        self._tokenizer = processor.tokenizer
        image = processor.image_token
        self._prompts = {
            kind: self._tokenizer(prompt(kind).replace(image, image * IMAGE_TOKENS)).input_ids
            for kind in QUESTIONS
        }
        self._answers: dict[str, list[int]] = {}

    def _answer_ids(self, text: str) -> list[int]:
        if text not in self._answers:
            ids = self._tokenizer(f" {text}", add_special_tokens=False).input_ids
            self._answers[text] = [*ids, self._tokenizer.eos_token_id]
        return self._answers[text]

    def rows(self, batch: list[Scene], kinds: list[str]) -> dict[str, torch.Tensor]:
        """Return ``input_ids``, ``attention_mask`` and ``labels``, each ``[B, T]``."""
        ids, labels = [], []
        for scene, kind in zip(batch, kinds, strict=True):
            asked, told = self._prompts[kind], self._answer_ids(answer(kind, scene))
            ids.append(torch.tensor(asked + told))
            labels.append(torch.tensor([IGNORED] * len(asked) + told))
        pad = nn.utils.rnn.pad_sequence
        lengths = torch.tensor([len(row) for row in ids])
        return {
            "input_ids": pad(ids, batch_first=True, padding_value=self._tokenizer.pad_token_id),
            "attention_mask": (torch.arange(int(lengths.max())) < lengths[:, None]).long(),
            "labels": pad(labels, batch_first=True, padding_value=IGNORED),
        }


def train_jointly(
    model: LlavaForConditionalGeneration,
    processor: LlavaProcessor,
    stream: Iterator[Scene],
    schedule: Schedule,
    log: Log,
) -> None:
    """Train tower, projector and language model together; only answer tokens count."""
    dialogues = Dialogues(processor)
    kinds = list(QUESTIONS)
    parts = model.model
    stepper = _Stepper(
        [
            (parts.vision_tower.parameters(), schedule.joint_tower_rate),
            (parts.multi_modal_projector.parameters(), schedule.joint_rate),
            (parts.language_model.parameters(), schedule.joint_rate),
            (model.lm_head.parameters(), schedule.joint_rate),
        ],
        schedule.joint_steps,
    )
    model.train()
    for step in range(1, schedule.joint_steps + 1):
        batch = list(islice(stream, schedule.joint_batch))
        # Scenes are random, so asking in turn is as good as asking at random, and even.
        asked = [kinds[index % len(kinds)] for index in range(len(batch))]
        loss = model(
            pixel_values=pixel_values(batch, processor), **dialogues.rows(batch, asked)
        ).loss
        stepper.step(loss)
        if step % 50 == 0 or step == schedule.joint_steps:
            log(f"jointly {step}/{schedule.joint_steps}: loss {loss.item():.4f}")
