"""How a language model is shared out between ranks, Megatron-style, and the slices as streams.

Query, key, value, gate and up are split by rows (whole heads, for attention), o and down by
columns; the embedding and the head by rows of the vocabulary. So each layer needs two sums over
the ranks, and each rank keeps 1/n of the weights and of the KV cache. Fewer key/value heads than
ranks are repeated: each rank has the one that its query heads read.

Source: Shoeybi et al., Megatron-LM (arXiv:1909.08053), section 3; TensorRT-LLM 1.2 ``Attention``
for repeated heads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmtrt.native.errors import NativeError
from mmtrt.native.safetensors_file import CHUNK_BYTES, ITEM_BYTES, PlannedTensor, StoredTensor

VOCAB_MULTIPLE = 8
"""A rank's rows of the vocabulary are a multiple of this. Source: NVIDIA, Matrix Multiplication
Background User's Guide: tensor cores take 16-bit sides that are multiples of 8."""


@dataclass(frozen=True)
class Part:
    """What a rank keeps of a tensor: ``begin`` to ``end`` of one side, then rows of zeros."""

    axis: int
    begin: int
    end: int
    padding: int = 0


@dataclass(frozen=True, kw_only=True)
class TensorSplit:
    """Sizes of a Llama-like language model, all ranks together, and the number of ranks."""

    ranks: int
    heads: int
    kv_heads: int
    head_size: int
    inner: int
    """Width of the MLP."""
    vocab_size: int

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be shared out evenly.

        Raises:
            NativeError: PAR201.
        """
        n, kv = self.ranks, self.kv_heads
        if self.heads % n or (kv % n if kv >= n else n % kv) or self.inner % n:
            raise NativeError(
                f"--tp-size {n} does not divide {self.heads} attention heads, {kv} key-value "
                f"heads and an MLP of width {self.inner}",
                code="PAR201",
                why="each rank takes an equal share of them",
                fix=f"--tp-size {max(self._fitting())}",
            )

    def _fitting(self) -> list[int]:
        common, kv = math.gcd(self.heads, self.inner), self.kv_heads
        return [
            n
            for n in range(1, self.ranks)
            if common % n == 0 and (kv % n == 0 if kv >= n else n % kv == 0)
        ]

    @property
    def vocab_rows(self) -> int:
        """Rows of embedding and head that each rank holds, those of padding included."""
        return -(-self.vocab_size // (self.ranks * VOCAB_MULTIPLE)) * VOCAB_MULTIPLE

    def part(self, name: str, rank: int) -> Part | None:
        """Return what a rank keeps of a tensor; ``None`` for the whole.

        Args:
            name: name in the checkpoint, such as ``model.layers.0.mlp.up_proj.weight``.
            rank: which rank.

        Raises:
            NativeError: PAR202, if no rule says how the tensor is split.
        """
        module, _, kind = name.rpartition(".")
        module = module.rpartition(".")[2]
        n, size = self.ranks, self.head_size
        if module == "q_proj":
            return _rows(rank, self.heads // n * size)
        if module in ("k_proj", "v_proj"):
            own = max(self.kv_heads // n, 1)
            return _rows(rank * self.kv_heads // n // own, own * size)
        if module in ("gate_proj", "up_proj"):
            return _rows(rank, self.inner // n)
        if module in ("o_proj", "down_proj"):
            # A bias is added once, after the sum over the ranks.
            share = (self.heads * size if module == "o_proj" else self.inner) // n
            return None if kind == "bias" else Part(1, rank * share, (rank + 1) * share)
        if module in ("embed_tokens", "lm_head"):
            rows = self.vocab_rows
            begin = min(rank * rows, self.vocab_size)
            end = min(begin + rows, self.vocab_size)
            return Part(0, begin, end, padding=rows - (end - begin))
        if module == "norm" or module.endswith("layernorm"):
            return None
        raise NativeError(
            f"{name}: nothing says how it is split between ranks", code="PAR202", fix="use tp=1"
        )


def split_of(config: Any, ranks: int) -> TensorSplit:
    """Return the split of a language model with a configuration of transformers.

    Raises:
        NativeError: PAR201, if its sizes cannot be shared out evenly.
    """
    heads = config.num_attention_heads
    return TensorSplit(
        ranks=ranks,
        heads=heads,
        kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_size=getattr(config, "head_dim", None) or config.hidden_size // heads,
        inner=config.intermediate_size,
        vocab_size=config.vocab_size,
    )


def sliced(tensor: StoredTensor, part: Part | None) -> PlannedTensor:
    """Return a part of a stored tensor, read from its file when it is written."""
    if part is None:
        return PlannedTensor(tensor.name, tensor.dtype, tensor.shape, tensor.chunks)
    kept = part.end - part.begin
    if part.axis == 1:
        sides = (tensor.shape[0], kept)
        return PlannedTensor(tensor.name, tensor.dtype, sides, lambda: _columns(tensor, part))
    shape = (kept + part.padding, *tensor.shape[1:])
    return PlannedTensor(tensor.name, tensor.dtype, shape, lambda: _row_range(tensor, part))


def narrow(model: Any, split: TensorSplit) -> None:
    """Give a model without weights the parameter shapes of one rank; all ranks have the same."""
    import torch

    for name, parameter in list(model.named_parameters(remove_duplicate=False)):
        part = split.part(name, 0)
        if part is not None:
            shape = list(parameter.shape)
            shape[part.axis] = part.end - part.begin + part.padding
            module, _, kind = name.rpartition(".")
            empty = torch.empty(shape, dtype=parameter.dtype, device="meta")
            setattr(model.get_submodule(module), kind, torch.nn.Parameter(empty, False))


def _rows(share: int, size: int) -> Part:
    return Part(0, share * size, (share + 1) * size)


def _row_range(tensor: StoredTensor, part: Part) -> Iterator[bytes | memoryview]:
    row = math.prod(tensor.shape[1:]) * ITEM_BYTES[tensor.dtype]
    yield from StoredTensor(
        tensor.name,
        tensor.dtype,
        (part.end - part.begin, *tensor.shape[1:]),
        tensor.path,
        tensor.offset + part.begin * row,
        (part.end - part.begin) * row,
    ).chunks()
    left = part.padding * row
    while left:
        yield bytes(min(left, CHUNK_BYTES))
        left -= min(left, CHUNK_BYTES)


def _columns(tensor: StoredTensor, part: Part) -> Iterator[memoryview]:
    """Yield some columns; the file is mapped, so that only a few rows are in memory at a time."""
    import numpy as np

    rows, columns = tensor.shape
    item = ITEM_BYTES[tensor.dtype]
    whole = np.memmap(
        tensor.path, np.uint8, "r", offset=tensor.offset, shape=(rows, columns * item)
    )
    kept = whole[:, part.begin * item : part.end * item]
    step = max(CHUNK_BYTES // max(kept.shape[1], 1), 1)
    for first in range(0, rows, step):
        yield memoryview(np.ascontiguousarray(kept[first : first + step])).cast("B")
