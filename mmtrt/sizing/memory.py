"""Memory and disk that weights, caches and engines take: plain sums in bytes, each with its source.

Every function counts what its name says and nothing else. A sum of several is the least that is
needed: what nobody can compute beforehand, such as the CUDA context and the workspaces of kernels
(0.5 GB in NVIDIA/TensorRT-LLM issue 548), stays out. ``docs/benchmarks.md`` has the errors against
what was measured.
"""

from __future__ import annotations

ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1, "fp8": 1}
"""Bytes of one number."""

QUANTIZED_BITS = {"int8_wo": 8, "int4_wo": 4, "int4_awq": 4, "int8_sq": 8, "fp8": 8}
"""Bits of one quantized weight by the value of ``quant``."""

SCALE_BITS = {"int4_awq": 16}
"""Bits of the scales of one group of weights; formats with one scale a channel have next to none.

Source: ``quantization/quantize.py``, TensorRT-LLM 1.2 (``--awq_block_size 128``, float16 scales).
"""

AWQ_GROUP = 128
"""Weights that share a scale of ``int4_awq``."""

DEFAULT_MAX_TOKENS = 8192
"""``--max_num_tokens`` of ``trtllm-build`` where it is not given (TensorRT-LLM 1.2)."""


def item_bytes(dtype: str) -> int | None:
    """Return the bytes of one number; ``None`` for ``auto``, which the file decides."""
    return ITEM_BYTES.get(dtype)


def weights_bytes(parameters: int, dtype: str, *, tp: int = 1, pp: int = 1) -> int:
    """Return the weights of one rank in bytes: ``parameters x bytes / (tp x pp)``.

    Args:
        parameters: number of weights of all ranks together.
        dtype: a key of :data:`ITEM_BYTES`.
        tp: ranks that share each layer.
        pp: ranks that share the layers out.

    Source: TensorRT-LLM 1.2, ``docs/source/reference/memory.md``, "Weights size".
    """
    return -(-parameters * ITEM_BYTES[dtype] // (tp * pp))


def quantized_bytes(
    linear: int, others: int, dtype: str, quant: str, *, block_size: int | None = None
) -> int:
    """Return the weights of a quantized model in bytes, all ranks together.

    Args:
        linear: weights that the format makes small.
        others: weights that stay as they are: embeddings, head, norms.
        dtype: number format of those.
        quant: a key of :data:`QUANTIZED_BITS`, or ``none``.
        block_size: weights that share one float32 scale, as ONNX Runtime's ``MatMulNBits`` has it;
            ``None`` for TensorRT-LLM's own formats.

    Source: TensorRT-LLM 1.2, ``docs/source/reference/precision.md``; onnxruntime 1.32,
    ``docs/ContribOperators.md``.
    """
    if quant == "none":
        return (linear + others) * ITEM_BYTES[dtype]
    bits = linear * QUANTIZED_BITS[quant]
    if block_size is not None:
        bits += -(-linear // block_size) * 32
    else:
        bits += linear // AWQ_GROUP * SCALE_BITS.get(quant, 0)
    return -(-bits // 8) + others * ITEM_BYTES[dtype]


def kv_token_bytes(
    layers: int, kv_heads: int, head_dim: int, dtype: str, *, tp: int = 1, pp: int = 1
) -> int:
    """Return what one token takes of one rank's cache: a key and a value for each layer and head.

    With more ranks than heads, heads are duplicated, so that each rank has one.

    Source: TensorRT-LLM 1.2, ``docs/source/reference/memory.md``, "KV cache tensor" (shape
    ``[batch, 2, heads, tokens, head_dim]`` for each layer).
    """
    return 2 * -(-layers // pp) * max(1, -(-kv_heads // tp)) * head_dim * ITEM_BYTES[dtype]


def kv_cache_bytes(
    layers: int,
    kv_heads: int,
    head_dim: int,
    dtype: str,
    *,
    max_seq_len: int,
    max_batch_size: int,
    tp: int = 1,
    pp: int = 1,
) -> int:
    """Return the cache of so many requests of full length on one rank, in bytes."""
    each = kv_token_bytes(layers, kv_heads, head_dim, dtype, tp=tp, pp=pp)
    return each * max_seq_len * max_batch_size


def prompt_table_bytes(rows: int, hidden: int, dtype: str) -> int:
    """Return the prompt-embedding table in bytes; every rank has the whole of it.

    Source: TensorRT-LLM 1.2 ``trtllm-build --max_multimodal_len``: rows x hidden size.
    """
    return rows * hidden * ITEM_BYTES[dtype]


def activation_bytes(
    tokens: int,
    hidden: int,
    intermediate: int,
    vocab: int,
    requests: int,
    dtype: str,
    *,
    tp: int = 1,
) -> int:
    """Return the activations of one rank in bytes: rough, since TensorRT decides by itself.

    ``(tokens x (2 hidden + 2 intermediate / tp) + requests x vocab / tp) x bytes``: the residual
    and its norm, the two halves of a gated MLP, and the logits of the last token of each request.

    Args:
        tokens: tokens of all requests in one step, ``max_num_tokens``.
        hidden: width of the model.
        intermediate: width of its MLP.
        vocab: number of tokens that there are.
        requests: ``max_batch_size``.
        dtype: a key of :data:`ITEM_BYTES`.
        tp: ranks that share each layer.

    Source: fits two published logs ("Allocated ... MiB for execution context memory") to the MiB,
    see ``docs/benchmarks.md``; FP8 engines take more (``memory.md``, "Known Issues").
    """
    wide = tokens * (2 * hidden + 2 * -(-intermediate // tp))
    return (wide + requests * -(-vocab // tp)) * ITEM_BYTES[dtype]


def attention_mask_bytes(rows: int) -> int:
    """Return the float16 mask of a vision engine that takes patch rows: ``2 x rows^2`` bytes.

    Source: TensorRT-LLM 1.2 ``multimodal_builder.py``, Qwen2-VL: mask ``[1, rows, rows]``, rows up
    to ``max_batch_size x 5184``.
    """
    return 2 * rows**2


def convert_ram_bytes(converted_bytes: int, ranks: int, workers: int) -> int:
    """Return the host memory of a conversion: the weights of as many ranks as work at a time.

    The least there is: scripts that load the original model as a whole need that beside it.

    Source: TensorRT-LLM 1.2 ``convert_checkpoint.py``: each worker holds one rank's weights until
    it writes them; NVIDIA/TensorRT-LLM issues 2093 and 102.
    """
    return -(-converted_bytes // ranks) * min(ranks, workers)


def gibibytes(size_bytes: int | float) -> str:
    """Return ``13.2 GiB``."""
    return f"{size_bytes / (1 << 30):.1f} GiB"
