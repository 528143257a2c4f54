"""What one rank of a test does: the decoder's graphs, uncompiled, over gloo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

STEPS = 5
MAX = 48
ROWS = 3


def requests(vocab_size: int) -> tuple[Any, Any]:
    """Return two prompts of different lengths, padded at the right, with rows of the table."""
    import torch

    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(5, vocab_size, (2, 13), generator=generator)
    ids[0, 4:6] = torch.tensor([vocab_size, vocab_size + 2])
    ids[1, 1] = vocab_size + 1
    return ids, torch.tensor([13, 6])


def answer(rank: int, checkpoints: list[str], meeting: str, output: str) -> None:
    """Answer greedily with each checkpoint and keep the logits of every step."""
    import torch
    from torch import distributed

    from mmtrt.native import aot_ops
    from mmtrt.native.aot_build import load_decoder
    from mmtrt.native.aot_llm import PromptGraph, TokenGraph
    from mmtrt.native.aot_parallel import RankOps
    from mmtrt.native.component import read_component

    torch.set_num_threads(1)
    ranks = read_component(Path(checkpoints[0]), "llm").tp_size
    store = distributed.FileStore(meeting, ranks)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    found = {}
    for checkpoint in checkpoints:
        component = read_component(Path(checkpoint), "llm")
        decoder = load_decoder(
            component, Path(checkpoint), MAX, dtype="float32", device="cpu", rank=rank
        )
        ops = RankOps(aot_ops)
        ids, lengths = requests(component.vocab_size)
        table = torch.linspace(-0.3, 0.3, ROWS * component.hidden_size).view(ROWS, -1)
        caches = [decoder.cache.zeros(2, dtype=torch.float32, device="cpu") for _ in range(2)]
        with torch.no_grad():
            logits, tokens = PromptGraph(decoder, ops)(ids, lengths, table, *caches)
            steps = [logits]
            for step in range(STEPS):
                logits, tokens = TokenGraph(decoder, ops)(
                    tokens, lengths + step, torch.arange(MAX - 1), *caches
                )
                steps.append(logits)
        found[checkpoint] = torch.stack(steps)
    torch.save(found, f"{output}/{rank}.pt")
    distributed.destroy_process_group()
