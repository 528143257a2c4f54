"""Owns the model card: turns measured numbers into the README beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmtrt.native.shapes import BACKGROUNDS, COLOURS, QUESTIONS, SHAPES, SIDES

CHANCE = {
    "colour": 1 / len(COLOURS),
    "shape": 1 / len(SHAPES),
    "background": 1 / len(BACKGROUNDS),
    "side": 1 / len(SIDES),
    "describe": 1 / (len(COLOURS) * len(SHAPES) * len(BACKGROUNDS) * len(SIDES)),
}
"""Share of right answers from guessing evenly among the possible ones."""

EXAMPLES = {
    "colour": "red",
    "shape": "circle",
    "background": "white",
    "side": "left",
    "describe": "a red circle on the left of a white background",
}

QUICK_NOTE = (
    "> **From a `--quick` run:** trained for a few steps to test the script; answers are noise."
)

TEMPLATE = """\
---
license: apache-2.0
library_name: transformers
pipeline_tag: image-text-to-text
language: en
tags: [llava, tiny, synthetic]
---

# llava_tiny

{note}A complete LLaVA of {parameters} parameters ({weights_mb:.2f} MB, float32) that answers
questions about simple drawings. It is small enough to commit and to run in tests, it has every
part of LLaVA-1.5, and its answers are right or wrong: a broken conversion, engine or
quantisation shows as lost accuracy, which random weights can never show.

It knows one shape on a plain background and nothing else of the world.

## Use

```python
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration

model = LlavaForConditionalGeneration.from_pretrained("recipes/assets/llava_tiny")
processor = AutoProcessor.from_pretrained("recipes/assets/llava_tiny")
image = Image.open("recipes/assets/pictures/red_circle_left_on_white.png")
prompt = "USER: <image>\\n{describe} ASSISTANT:"
inputs = processor(images=image, text=prompt, return_tensors="pt")
tokens = model.generate(**inputs)[:, inputs["input_ids"].shape[1]:]
print(processor.batch_decode(tokens, skip_special_tokens=True)[0].strip())
# a red circle on the left of a white background
```

- Prompt: `USER: <image>\\n{{question}} ASSISTANT:` (`\\n` is a line break). The tokenizer puts
  `<s>` first, the processor widens `<image>` to {image_tokens} tokens, the answer starts with a
  space and ends with `</s>`, where `generate` stops. The chat template makes the same text.
- Questions must be worded exactly as in the table below; the model has seen no other wording.
- Batches need padding on the **left**. `tokenizer_config.json` says so, but not every reader
  keeps `padding_side`, and wrong padding spoils answers without an error: set
  `processor.tokenizer.padding_side = "left"` after loading.
- torchvision is not needed. Transformers 4.57 and 5.23 both load the files.

## Accuracy

Exact match of the whole greedy answer, on {count} held-out pictures per question. The held-out
pictures come from a random stream of their own; {seen} of them occurred in training.

| kind | question | example answer | chance | {headings} |
|---|---|---|---|{rule}
{rows}

"drawn at N px" is the size of the picture before the processor brings it to {image_px} px.
{pictures}
## Architecture

| part | what |
|---|---|
| vision tower | CLIP, {image_px} x {image_px} px, patches of {patch_px} px, \
{vision_layers} layers of {vision_hidden}, {vision_heads} heads |
| features | hidden layer {feature_layer}, class token dropped ("default"): {image_tokens} \
tokens |
| projector | two linear layers with GELU, {vision_hidden} to {text_hidden} |
| language model | Llama, {text_layers} layers of {text_hidden}, {text_heads} heads, \
{key_value_heads} key/value heads, MLP {text_mlp}, {positions} positions |
| tokenizer | byte-level BPE, {vocab} entries; `<unk>` 0, `<s>` 1, `</s>` 2, `<pad>` 3, \
`<image>` 4 |

As in every LLaVA that reads layer -2, the tower's last layer is in the file but takes no part,
and so has not been trained.

## Data

All pictures are drawn by the training script: one {shapes}
in {colours},
on a {backgrounds} background, with its centre in the left or the right half.
Position, size and the exact colours are random. Every picture is drawn afresh and used once:
{training_pictures} in all. There is no data set to download, and no picture, text or weight of
anyone else is in this model.

## Training

1. The tower alone, with throw-away classifiers of colour, shape, background and side on its mean
   patch feature: {tower_steps} steps of {tower_batch} pictures, AdamW, one-cycle rate
   up to {tower_rate:g}.
2. Everything together, loss on the answers only: {joint_steps} steps of {joint_batch}
   pictures with one question each, rate up to {joint_rate:g} ({joint_tower_rate:g} for the tower).

| measured | |
|---|---|
| phase 1 | {tower_s:.0f} s |
| phase 2 | {joint_s:.0f} s |
| whole run with evaluation | {total_s:.0f} s ({cpu_s:.0f} s of CPU time) |
| peak resident memory | {rss_mib:.0f} MiB |
| hardware | {threads} threads on {cores} {machine} cores, no GPU |
| load average at the end | {load_average} (above {cores}: the machine was shared, so seconds \
are upper bounds) |
| versions | Python {python}, torch {torch}, transformers {transformers} |

To make it again, from the root of the repository:

```bash
python tools/train_llava_tiny.py --seed {seed} --threads {threads} \\
    --out recipes/assets/llava_tiny --pictures recipes/assets/pictures
```

The data depends on the seed alone. Weights also depend on the CPU, the number of threads and on
torch, so another machine gives slightly different weights and accuracies.

## Limitations

- Photographs, text, several shapes, other colours, shapes or backgrounds: the answer will be
  fluent and meaningless. The model cannot say that it does not know.
- Shapes whose centre lies in the middle were never drawn; left or right is then arbitrary.
- Pictures should be square: the processor crops the rest away.
- It measures whether a pipeline keeps a model intact. It says nothing about how well large models
  keep their accuracy at the same settings.

## Licence

Apache-2.0, like the project.
"""


def render(metrics: Mapping[str, Any]) -> str:
    """Render the card from the numbers that `train_llava_tiny` writes to ``metrics.json``."""
    accuracies: Mapping[str, Mapping[str, float]] = metrics["held_out"]["accuracy"]
    rows = []
    for kind, question in QUESTIONS.items():
        shares = " | ".join(f"{by_kind[kind]:.3f}" for by_kind in accuracies.values())
        rows.append(f"| {kind} | {question} | {EXAMPLES[kind]} | {CHANCE[kind]:.3f} | {shares} |")
    pictures = ""
    if "pictures" in metrics:
        sample = metrics["pictures"]
        pictures = (
            f"\nOf the {sample['answers']} answers about the {sample['count']} sample pictures in "
            f"`../pictures`, {sample['right']} are right. They are drawn at 96\nto 336 px, and "
            f"their looks were chosen before training.\n"
        )
    return TEMPLATE.format(
        note=f"{QUICK_NOTE}\n\n" if metrics["quick"] else "",
        parameters=f"{metrics['parameters']:,}",
        weights_mb=metrics["weights_bytes"] / 1e6,
        describe=QUESTIONS["describe"],
        count=metrics["held_out"]["count"],
        seen=metrics["held_out"]["seen_in_training"] or "none",
        headings=" | ".join(f"drawn at {side_px} px" for side_px in accuracies),
        rule="---|" * len(accuracies),
        rows="\n".join(rows),
        pictures=pictures,
        shapes=", ".join(SHAPES[:-1]) + f" or {SHAPES[-1]}",
        colours=", ".join(list(COLOURS)[:-1]) + f" or {list(COLOURS)[-1]}",
        backgrounds=", ".join(list(BACKGROUNDS)[:-1]) + f" or {list(BACKGROUNDS)[-1]}",
        training_pictures=f"{metrics['training_pictures']:,}",
        seed=metrics["seed"],
        **metrics["sizes"],
        **metrics["schedule"],
        **metrics["cost"],
        **metrics["versions"],
    )
