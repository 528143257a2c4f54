"""The native ``eval`` stage, and the data set that is drawn for models which are made here."""

from __future__ import annotations

import dataclasses

from mmtrt.backends.base import Command, In, Local, Out, Python, Skip, Word
from mmtrt.config.recipe import Recipe
from mmtrt.config.root import ASSET_SCHEME
from mmtrt.stages import Download, Eval, Stage

QUESTIONS = "eval_data"
"""Id of the stage that draws a data set."""
DATASET_PORT = "dataset"


def knows_drawn_pictures(recipe: Recipe) -> bool:
    """Return whether the variant's model ships with mmtrt, or is made with random weights."""
    variant = recipe.variant
    return variant.generate is not None or (variant.path or "").startswith(ASSET_SCHEME)


def with_drawn_questions(stages: list[Stage], recipe: Recipe) -> list[Stage]:
    """Return the stages, with one that draws a data set for evaluations that name none."""
    asking = [
        stage
        for stage in stages
        if isinstance(stage, Eval) and stage.task is not None and stage.dataset_dir is None
    ]
    if not asking or not knows_drawn_pictures(recipe):
        return stages
    first = asking[0]
    drawn = Download(
        id=QUESTIONS, model_name="questions", questions=first.task, count=first.max_ite
    )
    return [
        *(
            dataclasses.replace(stage, needs={**stage.needs, DATASET_PORT: QUESTIONS})
            if stage in asking
            else stage
            for stage in stages
        ),
        drawn,
    ]


def evaluation(stage: Eval, max_new_tokens: int) -> Command | Skip:
    """Return the command of an evaluation; rule EVL104 refuses one without a data set."""
    if stage.task is None:
        return Skip("eval.task is not set")
    words: list[Word] = []
    if stage.dataset_dir is not None:
        words += ["--dataset-dir", Local("dataset", stage.dataset_dir)]
    elif DATASET_PORT in stage.needs:
        words += ["--dataset-dir", In(DATASET_PORT)]
    words += ["--task", stage.task, "--max-ite", str(stage.max_ite)]
    words += ["--batch-size", str(stage.batch_size), "--max-new-tokens", str(max_new_tokens)]
    if stage.accuracy_threshold is not None:
        words += ["--accuracy-threshold", f"{stage.accuracy_threshold:g}"]
    words += [] if stage.test_trtllm else ["--no-test-engines"]
    words += ["--test-hf"] if stage.test_hf else []
    return Command(
        argv=(
            *(Python(), "-m", "mmtrt.native.evaluate"),
            *("--engine-dir", In("engine"), "--model-dir", In("model"), "--output-dir", Out()),
            *words,
        ),
        outputs={"scores": "scores.json", "answers": "answers.json"},
        tools=(
            *("onnxruntime", "tokenizers", "pillow", "numpy", "torch", "transformers"),
            "pyarrow",
        ),
    )
