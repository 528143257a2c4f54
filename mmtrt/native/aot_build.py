"""Compile a language model ahead of time with AOTInductor: ``prompt.pt2`` and ``token*.pt2``.

The packages hold code only. Weights lie beside them in one file, are loaded once, and are lent to
every package: prefill and decode share one copy, whatever the size of the model.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from mmtrt.native import aot_ops
from mmtrt.native.aot_config import CONFIG_FILE, AotConfig, capability_of, weights_of
from mmtrt.native.aot_formats import check_format
from mmtrt.native.aot_llm import MergedDecoder, PromptGraph, TokenGraph
from mmtrt.native.aot_parallel import RankOps, compiling_for
from mmtrt.native.component import Component, SpecialTokens, read_component
from mmtrt.native.json_file import write_json
from mmtrt.native.limits import LlmLimits, check_limits
from mmtrt.native.packed_linear import replace_linears
from mmtrt.native.progress import mebibytes, say
from mmtrt.native.safetensors_file import PlannedTensor, write_tensors
from mmtrt.native.tensor_split import narrow, split_of

_TRACED_ROWS = 3
_TRACED_TOKENS = 16
_TRACED_BATCH = 2

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}

_STORED = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.bool: "BOOL",
}
"""Types as safetensors writes them."""

NESTED = "model.language_model."
"""Where models of pictures and text keep what their language model alone calls ``model.``."""

OPTIONS: dict[str, Any] = {"aot_inductor.package_constants_in_so": False}
"""What inductor is told for every package: weights lie beside it."""
if sys.platform == "linux":
    # A compiler that links its own copy of the C++ library makes packages that crash when loaded:
    # their std::regex then meets the locale of the copy that PyTorch uses.
    OPTIONS["aot_inductor.custom_op_libs"] = [":libstdc++.so.6"]


@dataclass(frozen=True)
class Graph:
    """A graph to be compiled."""

    name: str
    module: torch.nn.Module
    args: tuple[Any, ...]
    dynamic_shapes: tuple[Any, ...]
    is_tuned: bool = False
    """Whether its kernels are tried on the GPU before it is compiled."""


def build_aot_llm(
    checkpoint_dir: Path, output_dir: Path, *, limits: LlmLimits, device: str, dtype: str
) -> None:
    """Write the packages, the weights and the configuration of an ``llm`` component.

    Args:
        checkpoint_dir: what ``convert`` wrote for the language model.
        output_dir: made if needed; files of the same names are replaced.
        limits: largest request; the batch of the packages may be any up to ``max_batch_size``.
        device: ``cpu`` or ``cuda``; packages run on machines with the same capability only.
        dtype: type of activations, cache, and weights that are not packed, a key of ``DTYPES``.

    Raises:
        NativeError: ART2xx or MDL2xx, if the checkpoint cannot be used; ENG201, if the limits
            contradict each other; QNT205, if packages cannot hold its number format.
    """
    component = read_component(checkpoint_dir, "llm")
    check_format(component, device)
    check_limits(limits)
    ranks = component.tp_size
    for rank in range(ranks):
        decoder = load_decoder(
            component, checkpoint_dir, limits.max_seq_len, dtype=dtype, device=device, rank=rank
        )
        if rank == 0:
            # Ranks differ by their weights only.
            tokens = component.special_tokens
            compile_decoder(decoder, output_dir, limits=limits, special_tokens=tokens)
        save_weights(decoder, output_dir)
        # Weights of one rank at a time.
        del decoder


def load_decoder(
    component: Component,
    checkpoint_dir: Path,
    max_seq_len: int,
    *,
    dtype: str,
    device: str,
    rank: int = 0,
) -> MergedDecoder:
    """Return a rank's decoder with its weights.

    Raises:
        NativeError: MDL2xx, if the checkpoint cannot be used; PAR201, if it cannot be split so.
    """
    from mmtrt.native.families import family_of
    from mmtrt.native.weights import load_weights

    model = family_of(component.family).language_model(component)
    ranks = component.tp_size
    if component.quantization:
        replace_linears(model, component.quantization, inner=NESTED)
    if ranks > 1:
        narrow(model, split_of(model.config, ranks))
    load_weights(
        model,
        checkpoint_dir,
        tied_head=component.tie_word_embeddings,
        as_stored=True,
        inner=NESTED,
        rank=rank,
    )
    return MergedDecoder(
        model, max_seq_len, dtype=DTYPES[dtype], device=device, rank=rank, ranks=ranks
    )


def compile_decoder(
    decoder: MergedDecoder,
    output_dir: Path,
    *,
    limits: LlmLimits,
    special_tokens: SpecialTokens,
    options: Mapping[str, Any] | None = None,
    uses_triton: bool = True,
    tunes: bool = True,
    only: Collection[str] | None = None,
) -> None:
    """Write the packages and the configuration of a decoder; its device is theirs.

    Args:
        decoder: with weights.
        output_dir: made if needed.
        limits: largest request.
        special_tokens: what ends an answer.
        options: further settings of inductor.
        uses_triton: take the kernels of ``aot_triton`` where the device and the model allow it.
        tunes: time their block sizes; else they have those of other GPUs.
        only: packages to compile; others are compiled by other processes, at the same time.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    config = {**OPTIONS, **(options or {})}
    names = []
    with torch.no_grad(), compiling_for(decoder.ranks):
        for graph in _graphs(decoder, limits, uses_triton):
            names.append(graph.name)
            if only is not None and graph.name not in only:
                continue
            started = perf_counter()
            if graph.is_tuned and tunes:
                from mmtrt.native.aot_tuning import tune

                tune(decoder)
            package = output_dir / f"{graph.name}.pt2"
            write_package(graph.module, graph.args, graph.dynamic_shapes, package, config)
            size, seconds = mebibytes(package.stat().st_size), perf_counter() - started
            say(f"compiled {package.name}: {size} in {seconds:.0f} s")
    device = decoder.embed.device
    write_json(
        output_dir / CONFIG_FILE,
        AotConfig(
            packages=tuple(names),
            device=device.type,
            capability=capability_of(device.type),
            dtype=str(decoder.dtype).removeprefix("torch."),
            limits=limits,
            vocab_size=decoder.vocab_size,
            hidden_size=decoder.hidden_size,
            layers=decoder.cache.layers,
            kv_heads=decoder.cache.heads,
            head_size=decoder.cache.head_size,
            special_tokens=special_tokens,
            torch=torch.__version__,
            position_axes=decoder.position_axes,
            ranks=decoder.ranks,
        ).to_json(),
    )


def write_package(
    module: torch.nn.Module,
    args: tuple[Any, ...],
    dynamic_shapes: tuple[Any, ...],
    package: Path,
    options: Mapping[str, Any],
) -> Any:
    """Compile a module into a package without its weights, and return the exported program."""
    with warnings.catch_warnings():
        # PyTorch's remarks about its own code, and that TF32 is off, as it should be.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", "TensorFloat32 tensor cores", UserWarning)
        program = torch.export.export(module, args, dynamic_shapes=dynamic_shapes, strict=False)
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(package), inductor_configs=dict(options)
        )
    return program


def save_weights(decoder: MergedDecoder, output_dir: Path) -> None:
    """Write the merged weights beside the packages."""
    state = {f"decoder.{name}": tensor for name, tensor in decoder.state_dict().items()}
    # One memory is written once; a tied head is found by its absence.
    if decoder.head.data_ptr() == decoder.embed.data_ptr():
        del state["decoder.head"]
    write_state(state, output_dir / weights_of(decoder.rank, decoder.ranks))


def write_state(state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write tensors of any device; host memory holds one of them at a time."""

    def planned(name: str, tensor: torch.Tensor) -> PlannedTensor:
        def chunks() -> list[memoryview]:
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            return [memoryview(flat.view(torch.uint8).numpy())]

        return PlannedTensor(name, _STORED[tensor.dtype], tuple(tensor.shape), chunks)

    write_tensors(path, [planned(name, tensor) for name, tensor in state.items()])


def _graphs(decoder: MergedDecoder, limits: LlmLimits, uses_triton: bool) -> Iterator[Graph]:
    device = decoder.embed.device
    ops: Any = aot_ops
    if uses_triton and device.type == "cuda":
        from mmtrt.native import aot_triton

        ops = aot_triton if aot_triton.supports(decoder.cache.head_size) else aot_ops
    has_kernels = ops is not aot_ops
    prompt_ops: Any = aot_ops
    if decoder.ranks > 1:
        ops, prompt_ops = RankOps(ops), RankOps(prompt_ops)
    many = limits.max_batch_size > 1
    batch = torch.export.Dim("batch", max=limits.max_batch_size) if many else None
    yield _prompt_graph(decoder, prompt_ops, limits, batch)
    if many:
        yield _token_graph("token", decoder, ops, batch, _TRACED_BATCH)
    # A graph for batch 1 alone has kernels of its own; without them it is only needed for itself.
    if not many or has_kernels:
        yield replace(_token_graph("token_1", decoder, ops, None, 1), is_tuned=has_kernels)


def _prompt_graph(decoder: MergedDecoder, ops: Any, limits: LlmLimits, batch: Any) -> Graph:
    device, cache = decoder.embed.device, decoder.cache
    rows = 1 if batch is None else _TRACED_BATCH
    tokens = min(_TRACED_TOKENS, limits.max_input_len)
    ids = torch.zeros((rows, tokens), dtype=torch.int64, device=device)
    lengths = torch.full((rows,), tokens, dtype=torch.int64, device=device)
    table = torch.zeros((_TRACED_ROWS, decoder.hidden_size), dtype=decoder.dtype, device=device)
    caches = [cache.zeros(rows, dtype=decoder.dtype, device=device) for _ in range(2)]
    by_batch = {} if batch is None else {0: batch}
    width = torch.export.Dim("tokens", min=2, max=max(limits.max_input_len, 3))
    by_cache = [by_batch] * cache.layers
    table_rows = torch.export.Dim("rows", max=max(limits.max_multimodal_len, _TRACED_ROWS))
    args: tuple[Any, ...] = (ids, lengths, table, *caches)
    shapes: tuple[Any, ...] = (
        {**by_batch, 1: width},
        by_batch,
        {0: table_rows},
        by_cache,
        by_cache,
    )
    if decoder.position_axes:
        args += (ids.repeat(decoder.position_axes, 1, 1),)
        shapes += ({**({} if batch is None else {1: batch}), 2: width},)
    return Graph("prompt", PromptGraph(decoder, ops), args, shapes)


def _token_graph(name: str, decoder: MergedDecoder, ops: Any, batch: Any, rows: int) -> Graph:
    device, cache = decoder.embed.device, decoder.cache
    ids = torch.zeros(rows, dtype=torch.int64, device=device)
    places = torch.arange(cache.max_seq_len - 1, device=device)
    caches = [cache.zeros(rows, dtype=decoder.dtype, device=device) for _ in range(2)]
    by_batch = {} if batch is None else {0: batch}
    by_cache = [by_batch] * cache.layers
    span = torch.export.Dim("places", max=cache.max_seq_len)
    args: tuple[Any, ...] = (ids, ids.clone(), places, *caches)
    shapes: tuple[Any, ...] = (by_batch, by_batch, {0: span}, by_cache, by_cache)
    if decoder.position_axes:
        args += (torch.zeros((rows, decoder.position_axes), dtype=torch.int64, device=device),)
        shapes += (by_batch,)
    return Graph(name, TokenGraph(decoder, ops), args, shapes)
