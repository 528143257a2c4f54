"""Choose the next tokens from logits, as the model's own generation settings and a request say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from types import SimpleNamespace
from typing import Any

from mmtrt.config.generation import FILE, PROCESSORS, WARPERS
from mmtrt.config.schema import RunRequest
from mmtrt.config.typed import read
from mmtrt.native.component import SpecialTokens
from mmtrt.native.errors import NativeError, in_one_line

_COLDEST = 1e-5
"""Temperatures below are greedy: float32 cannot divide logits by them. *Chosen*, as vLLM does."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen: what a request asks, over the model's own settings.

    Greedy unless ``top_k`` says otherwise, even where the model's own settings sample: answers can
    be repeated and compared. What is ``None`` is the model's own.
    """

    top_k: int | None = None
    """Sample among this many tokens; ``None`` and 1 are greedy, 0 does not limit."""
    top_p: float | None = None
    """Sample among the fewest tokens with this much probability; 0 and 1 do not limit.

    Source: TensorRT-LLM 1.2 run.py, whose default 0.0 means off.
    """
    temperature: float | None = None
    """Divides the logits of what is sampled; 0 is greedy."""
    repetition_penalty: float | None = None
    seed: int = 0
    own: Mapping[str, Any] = field(default_factory=dict)
    """What ``mmtrt.config.generation.own_settings`` returns for the model."""

    def __post_init__(self) -> None:
        given = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "own"}
        _, problems = read(RunRequest, given)
        if problems:
            wrong = problems[0]
            raise NativeError(
                f"{wrong.path[0]} {wrong.message}",
                code="RUN215",
                fix=f"run.{wrong.path[0]}={wrong.choices[0] if wrong.choices else 'null'}",
            )

    @property
    def settings(self) -> dict[str, Any]:
        """What differs from the likeliest token, by the names of transformers; empty if nothing."""
        settings = {name: value for name, value in self.own.items() if name in PROCESSORS}
        if self.repetition_penalty is not None:
            settings["repetition_penalty"] = self.repetition_penalty
        if self.top_k not in (None, 1):
            warpers = {name: value for name, value in self.own.items() if name in WARPERS}
            given = {"top_p": self.top_p or 1.0} if self.top_p is not None else {}
            if self.temperature is not None:
                given["temperature"] = self.temperature
            warpers |= {**given, "top_k": self.top_k}
            temperature = warpers.get("temperature", 1.0)
            if not isinstance(temperature, (int, float)) or temperature >= _COLDEST:
                settings |= {**warpers, "do_sample": True}
        return {
            name: value for name, value in settings.items() if value != PROCESSORS.get(name, ...)
        }


class Chooser:
    """Chooses the tokens of a batch; the random stream of a request is its own, not the batch's.

    The logits processors are those of transformers, in the order in which ``generate`` has them;
    they are imported where there is something to process.
    """

    def __init__(
        self,
        sampling: Sampling,
        special: SpecialTokens,
        seen: Sequence[Sequence[int]],
        max_new_tokens: int,
        vocab_size: int,
    ) -> None:
        """Start the answers to prompts.

        Args:
            sampling: how tokens are chosen.
            special: tokens with a meaning.
            seen: ids of each prompt, unpadded, as the model's tokenizer gives them: what a penalty
                meets.
            max_new_tokens: most tokens of an answer.
            vocab_size: how many logits there are.

        Raises:
            NativeError: RUN223, if transformers refuses the settings.
        """
        self._processors: Any = None
        self._random: list[Any] = []
        self._settings = settings = sampling.settings
        self.takes_any_number = bool(settings.get("remove_invalid_values"))
        """Whether the model asks to go on with logits that are not finite."""
        if not settings:
            return
        import numpy as np
        import torch

        longest = max(map(len, seen))
        pad = special.pad or 0
        # Padded as the processor of transformers does: some settings count or see the padding.
        self._ids = torch.tensor([[pad] * (longest - len(ids)) + [*ids] for ids in seen])
        mask = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in seen])
        if settings.get("do_sample"):
            self._random = [np.random.default_rng([sampling.seed, row]) for row in range(len(seen))]
        with _refused(settings):
            self._processors = _processors(
                {**settings, "max_length": longest + max_new_tokens},
                eos=torch.tensor(special.eos) if special.eos else None,
                ids=None if special.start is not None else self._ids,
                mask=mask,
                longest=longest,
                vocab_size=vocab_size,
            )

    def pick(self, logits: Any) -> list[int]:
        """Return the next token of each request, from float32 logits ``[B, V]``."""
        if self._processors is None:
            return [int(token) for token in logits.argmax(axis=1)]
        import numpy as np
        import torch

        with _refused(self._settings):
            scores = self._processors(
                self._ids, torch.from_numpy(np.array(logits, dtype=np.float32))
            )
        if not self._random:
            return [int(token) for token in scores.argmax(dim=-1)]
        chances = scores.double().softmax(dim=-1).numpy()
        return [
            int(random.choice(len(row), p=row / row.sum()))
            for random, row in zip(self._random, chances)
        ]

    def add(self, tokens: Sequence[int]) -> None:
        """Take over what was chosen."""
        if self._processors is not None:
            import torch

            self._ids = torch.cat([self._ids, torch.tensor(tokens)[:, None]], dim=1)


@contextmanager
def _refused(settings: Mapping[str, Any]) -> Iterator[None]:
    """Tell settings that transformers refuses.

    Raises:
        NativeError: RUN223.
    """
    try:
        yield
    except (ValueError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        raise NativeError(
            "transformers refuses the generation settings: " + in_one_line(error),
            code="RUN223",
            why=f"they are those of the model's {FILE}, and of run.*: "
            + ", ".join(f"{name}={value}" for name, value in settings.items())[:200],
            fix=f"correct {FILE} of the model",
        ) from error


def _processors(
    settings: Mapping[str, Any], *, eos: Any, ids: Any, mask: Any, longest: int, vocab_size: int
) -> Any:
    """Return the processors that ``generate`` would make.

    Source: transformers 5.23, ``GenerationMixin._get_logits_processor``, which asks the model for
    nothing but its kind and the size of its vocabulary.
    """
    import transformers
    from transformers.generation import GenerationMixin

    transformers.logging.set_verbosity_error()
    config = transformers.GenerationConfig(**settings)
    config._eos_token_tensor = eos
    host: Any = GenerationMixin()
    host.config = SimpleNamespace(
        is_encoder_decoder=ids is None,
        get_text_config=lambda: SimpleNamespace(vocab_size=vocab_size),
    )
    return host._get_logits_processor(
        config,
        input_ids_seq_length=longest,
        encoder_input_ids=ids,
        device="cpu",
        model_kwargs={} if ids is None else {"attention_mask": mask},
    )
