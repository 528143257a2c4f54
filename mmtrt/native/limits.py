"""The limits that engines are built for, and the check of a request against all of them.

ONNX Runtime accepts any size on an open side of a graph and would compute something; only these
checks stand between a request that does not fit and a wrong answer or a full memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from mmtrt.native.errors import NativeError

START_TOKENS = 1
"""Tokens that a decoder starts from where the prompt, or the picture, goes to an encoder."""


@dataclass(frozen=True, kw_only=True)
class LlmLimits:
    """Largest request that the engines of a language model serve."""

    max_batch_size: int
    """Requests in one call."""
    max_input_len: int
    """Tokens of a prompt, visual features included."""
    max_seq_len: int
    """Tokens of a prompt and its answer; the length of the KV cache."""
    max_num_tokens: int
    """Tokens in one call: requests times the longest prompt, since prompts are padded to it."""
    max_multimodal_len: int
    """Rows of the prompt table for a full batch; 0 where there is none."""
    max_encoder_input_len: int | None = None
    """Rows that one request attends to across; ``None`` where it attends to none."""

    @property
    def visual_features_per_request(self) -> int:
        """Rows of the prompt table that one request may use.

        Source: TensorRT-LLM 1.2, ``max_prompt_embedding_table_size // max_batch_size`` rows for
        each request of the C++ runtime.
        """
        return self.max_multimodal_len // self.max_batch_size

    def to_json(self) -> dict[str, int]:
        """Return the limits that are stated, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def check_limits(limits: LlmLimits) -> None:
    """Refuse limits that contradict each other.

    Raises:
        NativeError: ENG201, with every contradiction.
    """
    pairs = (
        ("max_input_len", limits.max_input_len, "max_seq_len", limits.max_seq_len - 1),
        ("max_input_len", limits.max_input_len, "max_num_tokens", limits.max_num_tokens),
        ("max_batch_size", limits.max_batch_size, "max_num_tokens", limits.max_num_tokens),
    )
    _raise_all(
        NativeError(
            f"{small} is {value}, {large} allows at most {most}",
            code="ENG201",
            why="a full request would not fit its own engine",
            fix=f"raise --{large.replace('_', '-')} or lower --{small.replace('_', '-')}",
        )
        for small, value, large, most in pairs
        if value > most
    )


@dataclass(frozen=True, kw_only=True)
class RequestSize:
    """What one call of the engines would need."""

    batch: int
    input_len: int
    """Tokens of the longest prompt of the batch."""
    new_tokens: int
    visual_features: int
    """Rows of the prompt table that the request with the most of them uses."""
    images: int
    """What counts against the vision engine's batch: images, tiles, or shares of patch rows."""
    encoder_len: int = 0
    """Rows that a request attends to across."""
    start_len: int | None = None
    """Tokens that a decoder starts from; ``None``: the prompt itself is continued."""


def check_request(size: RequestSize, llm: LlmLimits, vision_max_batch_size: int | None) -> None:
    """Refuse a request that exceeds any limit, before an engine is called.

    Args:
        size: the request.
        llm: limits of the language model's engines.
        vision_max_batch_size: images in one call; ``None`` where no vision engine is needed.

    Raises:
        NativeError: RUN201 to RUN207, one for each limit, all of them at once.
    """
    _raise_all(_excesses(size, llm, vision_max_batch_size))


def _excesses(
    size: RequestSize, llm: LlmLimits, vision_max_batch_size: int | None
) -> Iterator[NativeError]:
    rebuild = "build the engine with {}={} or more"

    if size.batch > llm.max_batch_size:
        yield NativeError(
            f"the batch has {size.batch} requests, max_batch_size is {llm.max_batch_size}",
            code="RUN201",
            fix="send fewer requests, or " + rebuild.format("max_batch_size", size.batch),
        )
    if vision_max_batch_size is not None and size.images > vision_max_batch_size:
        yield NativeError(
            f"the call has {size.images} images, vision.max_batch_size is {vision_max_batch_size}",
            code="RUN202",
            why="a picture that is cut counts once for each of its tiles, a video for its frames",
            fix="send fewer images, or " + rebuild.format("vision.max_batch_size", size.images),
        )
    if size.input_len > llm.max_input_len:
        yield NativeError(
            f"the longest prompt has {size.input_len} tokens, max_input_len is {llm.max_input_len}",
            code="RUN203",
            why="visual features count as tokens of the prompt",
            fix="shorten the prompt, or " + rebuild.format("max_input_len", size.input_len),
        )
    first = size.input_len if size.start_len is None else size.start_len
    total = first + size.new_tokens
    if total > llm.max_seq_len:
        yield NativeError(
            f"{first} prompt tokens and {size.new_tokens} new tokens make {total}, "
            f"max_seq_len is {llm.max_seq_len}",
            code="RUN204",
            fix=f"ask for at most {max(llm.max_seq_len - first, 0)} new tokens, or "
            + rebuild.format("max_seq_len", total),
        )
    tokens = size.batch * size.input_len
    if tokens > llm.max_num_tokens:
        yield NativeError(
            f"{size.batch} requests of {size.input_len} tokens make {tokens}, "
            f"max_num_tokens is {llm.max_num_tokens}",
            code="RUN205",
            why="prompts are padded to the longest one of the batch",
            fix="send fewer requests, or " + rebuild.format("max_num_tokens", tokens),
        )
    rows = llm.visual_features_per_request
    if size.visual_features > rows:
        yield NativeError(
            f"a request has {size.visual_features} visual features, max_multimodal_len "
            f"{llm.max_multimodal_len} leaves {rows} for each of {llm.max_batch_size} requests",
            code="RUN206",
            fix=rebuild.format("max_multimodal_len", size.visual_features * llm.max_batch_size)
            + ", or with a smaller max_batch_size",
        )
    if llm.max_encoder_input_len is not None and size.encoder_len > llm.max_encoder_input_len:
        yield NativeError(
            f"a request attends to {size.encoder_len} rows, max_encoder_input_len is "
            f"{llm.max_encoder_input_len}",
            code="RUN207",
            fix=rebuild.format("max_encoder_input_len", size.encoder_len),
        )


def _raise_all(errors: Iterator[NativeError]) -> None:
    found = [*errors]
    if found:
        first, *others = found
        first.also.extend(others)
        raise first
