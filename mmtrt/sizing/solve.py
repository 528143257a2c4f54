"""From a workload to the limits of the engines, each with the sum that gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from mmtrt.sizing.features import ImageCost
from mmtrt.sizing.limits import LIMIT_NAMES, Limit, Limits

PromptTable = Literal["features", "prompt"]
VisualInput = Literal["prompt_table", "cross_attention"]
Architecture = Literal["decoder", "encoder_decoder"]
Workflow = Literal["engine", "pytorch"]

PICTURES = frozenset({"images_per_request", "image_size", "video_frames", "audio_seconds"})
"""Numbers of a workload that change what one request shows."""

DEFAULT_TEXT_TOKENS = 64
"""Prompt text assumed where neither recipe nor user says more (*chosen*: a long question)."""
START_TOKENS = 1
"""Tokens that decoding starts with where the prompt goes to an encoder, or there is none."""
TOOL_DEFAULT = "not stated: the tool's own default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """The largest request to serve, as far as it is known.

    A number is in ``asked`` when the user gave it; the recipe's numbers are defaults, so limits
    that the recipe states win over them, and limits computed from what was asked win over both.
    """

    batch_size: int | None
    images_per_request: int
    text_tokens: int | None
    max_new_tokens: int
    image_size: tuple[int, int] | None = None
    """(height, width) in pixels; ``None`` is the worst case of the model."""
    video_frames: int | None = None
    audio_seconds: float | None = None
    asked: frozenset[str] = frozenset()

    @property
    def asked_text_tokens(self) -> int:
        """Text that the user said requests have; 0 where it is only assumed."""
        return (self.text_tokens or 0) if "text_tokens" in self.asked else 0


@dataclass(frozen=True, slots=True)
class Sizing:
    """What the solver found."""

    limits: Limits
    features_per_request: int
    """Rows of the prompt-embedding table that one request needs, of pictures and of sound."""
    image: ImageCost
    """Cost of one picture, or of one video."""
    demand: Demand
    visual_input: VisualInput = "prompt_table"
    architecture: Architecture = "decoder"

    @property
    def encoder_tokens_per_request(self) -> int:
        """Rows that the language model attends to across, for the pictures of one request."""
        return self.image.encoder_tokens * self.demand.images_per_request

    @property
    def visual_prompt_tokens(self) -> int:
        """Tokens of the prompt that stand for what one request shows."""
        marks = self.image.marks * self.demand.images_per_request
        return self.features_per_request + marks

    def vision_batch(self, requests: int) -> int:
        """Return the ``vision.max_batch_size`` that so many requests at once need."""
        tiles = requests * self.demand.images_per_request * self.image.tiles
        return -(-tiles // self.image.tiles_per_slot)

    def raised(self, batch: int) -> dict[str, int]:
        """Return the stated limits that a batch of so many full requests passes, and what it needs.

        ``max_batch_size`` itself is among them; limits that are derived follow by themselves.
        """
        prompt = self.limits.value("max_input_len") or 0
        needs = {
            "max_batch_size": batch,
            "max_multimodal_len": batch * self.features_per_request,
            "max_num_tokens": max(batch, prompt),
            "vision.max_batch_size": self.vision_batch(batch),
        }
        return {
            name: needed
            for name, needed in needs.items()
            if self.limits[name].source == "override"
            and (self.limits.value(name) or needed) < needed
        }


def prompt_tokens(demand: Demand, image: ImageCost, audio: int = 0) -> int:
    """Return the tokens of a prompt that stand for what one request shows."""
    return (image.features + image.marks) * demand.images_per_request + audio


def solve(
    demand: Demand,
    image: ImageCost,
    recipe: Mapping[str, int | None],
    override: Mapping[str, int | None],
    *,
    prompt_table: PromptTable = "features",
    visual_input: VisualInput = "prompt_table",
    architecture: Architecture = "decoder",
    workflow: Workflow = "engine",
    audio: int = 0,
    usual: int | None = None,
) -> Sizing:
    """Compute every limit.

    Args:
        demand: the workload.
        image: cost of one picture of the workload, or of its video.
        recipe: limits that the recipe or its variant states, by name.
        override: limits that the user set, by name; they win and are never changed.
        prompt_table: rows granted to each request: what its pictures need, or as many as its
            prompt may have tokens.
        visual_input: whether features fill a prompt table or are attended to across.
        architecture: whether the language model has an encoder of its own. Its ``max_input_len``
            is then the encoder's, and ``max_seq_len`` counts what the decoder writes.
        workflow: the PyTorch workflow builds no engine and needs no limit that nobody states.
        audio: features of one request's sound.
        usual: prompt tokens that the pictures of the recipe's own workload take; what its
            ``max_input_len`` has beyond them is room for text, kept when the user asks for others.

    Source of the multimodal rule: the C++ runtime grants each request
    ``floor(max_multimodal_len / max_batch_size)`` rows of the table (TensorRT-LLM 1.2).
    """
    features = image.features * demand.images_per_request + audio
    sizing = Sizing(Limits({}), features, image, demand, visual_input, architecture)
    solver = _Solver(
        sizing=sizing,
        demand=demand,
        recipe=recipe,
        override=override,
        rows_as_prompt=prompt_table == "prompt",
        engines=workflow == "engine",
        usual=usual,
    )
    return replace(sizing, limits=solver.limits())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Solver:
    """Finds each limit in turn; the later ones follow from the earlier."""

    sizing: Sizing
    demand: Demand
    recipe: Mapping[str, int | None]
    override: Mapping[str, int | None]
    rows_as_prompt: bool
    engines: bool
    usual: int | None

    def limits(self) -> Limits:
        """Return every limit."""
        batch = self._batch()
        prompt = self._prompt()
        requests = batch.value or 1
        found = {
            "max_batch_size": batch,
            "max_input_len": prompt,
            "max_seq_len": self._sequence(prompt),
            "max_num_tokens": self._tokens(prompt),
            "max_multimodal_len": self._table(requests, prompt),
            "max_encoder_input_len": self._encoder(prompt),
            "vision.max_batch_size": self._vision(requests),
        }
        return Limits({name: found[name] for name in LIMIT_NAMES})

    def _choose(self, name: str, derived: int | None, because: str, *, follows: bool) -> Limit:
        """Take the user's number, else one that follows from what was asked, else the recipe's."""
        if self.override.get(name) is not None:
            return Limit(self.override[name], "override", f"set by {name}={self.override[name]}")
        if not (follows and derived is not None) and self.recipe.get(name) is not None:
            return Limit(self.recipe[name], "recipe", "stated by the recipe")
        return Limit(derived, "derived", because)

    def _asked(self, *names: str) -> bool:
        return not self.demand.asked.isdisjoint(names)

    def _batch(self) -> Limit:
        requests = self.demand.batch_size or 1
        return self._choose(
            "max_batch_size",
            requests,
            f"workload.batch_size {requests}",
            follows=self._asked("batch_size"),
        )

    def _prompt(self) -> Limit:
        name = "max_input_len"
        text_asked = self._asked("text_tokens")
        if self.sizing.visual_input == "cross_attention":
            if self.sizing.architecture == "encoder_decoder":
                because = f"decoding starts from {START_TOKENS} token: the prompt is the picture"
                return self._choose(name, START_TOKENS, because, follows=False)
            text = self.demand.text_tokens
            because = TOOL_DEFAULT if text is None else f"{text} text tokens; pictures take none"
            return self._choose(name, text, because, follows=text_asked)
        follows = text_asked or self._asked(*PICTURES)
        if not self.engines and not follows:
            return self._choose(name, None, TOOL_DEFAULT, follows=False)
        features, text = self.sizing.features_per_request, self._text()
        marks = self.sizing.visual_prompt_tokens - features
        ends = f" + {marks} row ends" if marks else ""
        return self._choose(
            name,
            features + marks + text,
            f"{features} visual features{ends} + {text} text tokens",
            follows=follows,
        )

    def _text(self) -> int:
        """Return the room for text: as asked, else at least what the recipe's own prompt has."""
        text = self.demand.text_tokens
        if text is not None and self._asked("text_tokens"):
            return text
        stated = self.recipe.get("max_input_len")
        room = stated - self.usual if stated is not None and self.usual is not None else 0
        return max(room, DEFAULT_TEXT_TOKENS if text is None else text)

    def _answer(self) -> int:
        """Return the room for the answer: as asked, else at least what the recipe leaves for it."""
        prompt, seq = self.recipe.get("max_input_len"), self.recipe.get("max_seq_len")
        if self._asked("max_new_tokens") or prompt is None or seq is None:
            return self.demand.max_new_tokens
        return max(seq - prompt, self.demand.max_new_tokens)

    def _sequence(self, prompt: Limit) -> Limit:
        name = "max_seq_len"
        if self.sizing.architecture == "encoder_decoder":
            new = self.demand.max_new_tokens
            return self._choose(
                name,
                START_TOKENS + new,
                f"{START_TOKENS} start token + {new} new tokens",
                follows=self._asked("max_new_tokens"),
            )
        if prompt.value is None:
            return self._choose(name, None, TOOL_DEFAULT, follows=False)
        new = self._answer()
        return self._choose(
            name,
            prompt.value + new,
            f"max_input_len {prompt.value} + {new} new tokens",
            follows=prompt.source == "override"
            or self._asked("max_new_tokens", "text_tokens", *PICTURES),
        )

    def _tokens(self, prompt: Limit) -> Limit:
        stated = self.recipe.get("max_num_tokens")
        outgrown = stated and prompt.value and prompt.source != "recipe" and stated < prompt.value
        return self._choose(
            "max_num_tokens",
            prompt.value if outgrown else None,
            "one prompt of max_input_len must fit in a step" if outgrown else TOOL_DEFAULT,
            follows=bool(outgrown),
        )

    def _table(self, requests: int, prompt: Limit) -> Limit:
        name = "max_multimodal_len"
        if self.sizing.visual_input == "cross_attention":
            return self._choose(
                name, None, "features are attended to across: no prompt table", follows=False
            )
        if not self.engines:
            return self._choose(
                name, None, "the PyTorch workflow has no prompt table", follows=False
            )
        rows = self.sizing.features_per_request
        because = f"{rows} visual features per request"
        if self.rows_as_prompt and prompt.value is not None:
            rows, because = prompt.value, f"max_input_len {prompt.value}"
        granted = self._granted(name)
        if granted > rows:
            rows, because = granted, f"{granted} rows that the recipe grants a request"
        return self._choose(
            name,
            requests * rows,
            f"max_batch_size {requests} x {because}",
            follows=self._batch_moved()
            or self._asked(*PICTURES)
            or (self.rows_as_prompt and prompt.source != "recipe"),
        )

    def _encoder(self, prompt: Limit) -> Limit:
        name = "max_encoder_input_len"
        images = self.demand.images_per_request
        if self.sizing.visual_input == "cross_attention":
            several = f"{images} images x " if images > 1 else ""
            return self._choose(
                name,
                self.sizing.encoder_tokens_per_request,
                several + self.sizing.image.because,
                follows=self._asked(*PICTURES),
            )
        if self.sizing.architecture == "encoder_decoder":
            return self._choose(
                name,
                prompt.value,
                "max_input_len of the encoder",
                follows=prompt.source != "recipe",
            )
        return self._choose(
            name, None, "only models that attend to an encoder have one", follows=False
        )

    def _vision(self, requests: int) -> Limit:
        name = "vision.max_batch_size"
        if not self.engines:
            return self._choose(
                name, None, "the PyTorch workflow builds no vision engine", follows=False
            )
        image, images = self.sizing.image, self.demand.images_per_request
        derived, items = self.sizing.vision_batch(requests), images * image.tiles
        because = f"{items} {image.unit}{'' if items == 1 else 's'} per request"
        if image.tiles_per_slot > 1:
            because += f", {image.tiles_per_slot} for each of the engine's batch"
        granted = self._granted(name)
        if requests * granted > derived:
            derived, because = requests * granted, f"{granted} that the recipe grants a request"
        return self._choose(
            name,
            derived,
            f"max_batch_size {requests} x {because}",
            follows=self._batch_moved() or self._asked(*PICTURES),
        )

    def _batch_moved(self) -> bool:
        return self.override.get("max_batch_size") is not None or self._asked("batch_size")

    def _granted(self, name: str) -> int:
        """Return what the recipe's own statement grants one request, where it still holds."""
        stated = self.recipe.get(name)
        if stated is None or self._asked(*PICTURES):
            return 0
        return stated // (self.recipe.get("max_batch_size") or 1)
