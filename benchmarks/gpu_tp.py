"""A language model of random weights on one rank and on several: speed, memory, same answers.

    python -m benchmarks.gpu_tp --size 7b --ranks 1 2 --dtype bfloat16 --json tp.json

With as many GPUs as ranks they exchange sums over NCCL; with fewer, ranks share a GPU and use gloo,
which shows that it works and nothing of its speed. ``--nccl-alone`` adds one rank that still sums
over NCCL: what that costs, and that a captured step may hold it. ``--device cpu`` with ``--size
toy`` only shows that the script works.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.initialization import no_init_weights

from benchmarks.gpu_llava import TEXT, VOCAB, machine
from mmtrt.native.aot_build import DTYPES, compile_decoder, save_weights
from mmtrt.native.aot_llm import MergedDecoder
from mmtrt.native.aot_session import AotSession
from mmtrt.native.component import SpecialTokens
from mmtrt.native.json_file import write_json
from mmtrt.native.limits import LlmLimits
from mmtrt.native.rank_launch import as_rank, is_rank, launch
from mmtrt.native.tensor_split import split_of

SEED = 20
ALONE = "1, NCCL"


@dataclass
class Row:
    """What was measured with a number of ranks."""

    ranks: str
    batch: int
    prefill_ms: float
    decode_ms: float
    peak_gib: float
    """Of rank 0's GPU memory, weights, cache and all; 0 on a CPU."""
    weights_mib: float
    tokens: list[list[int]]
    error: float = 0.0
    """Largest difference of a logit of the first new token from one rank's."""
    same_tokens: float = 1.0
    """Share of tokens before the first that differs from one rank's."""


def main() -> int:
    flags = parse_flags()
    if flags.answer:
        # Rank 0, or the only one; as_rank does not come back.
        stage = partial(answer, flags)
        return as_rank(stage) if is_rank() else stage()
    if flags.build:
        build(flags.build, flags)
        return 0
    device = torch.device(flags.device)
    report: dict[str, Any] = {"machine": machine(device), "settings": vars(flags).copy()}
    print(json.dumps(report["machine"]), flush=True)
    with tempfile.TemporaryDirectory(dir=flags.work) as work:
        build_all(Path(work), flags)
        rows = [row for kind in kinds(flags) for row in measure(kind, Path(work), flags)]
    compare(rows, Path(work))
    report["rows"] = [asdict(row) for row in rows]
    if flags.json:
        write_json(flags.json, json.loads(json.dumps(report, default=str)))
    print(table(rows))
    return 0


def parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=tuple(TEXT), default="3b")
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--nccl-alone", action="store_true")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--prompt-tokens", type=int, default=640)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=tuple(DTYPES), default="bfloat16")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--work", type=Path, help="where engines are written")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def kinds(flags: argparse.Namespace) -> list[str]:
    return [*map(str, flags.ranks), *([ALONE] if flags.nccl_alone else [])]


def place_of(kind: str, work: Path) -> Path:
    return work / kind.replace(", ", "-")


def command(flags: argparse.Namespace, kind: str, *words: str) -> list[str]:
    """Return the command that does a part of the work for one kind."""
    first = [sys.executable, "-m", "benchmarks.gpu_tp", *words]
    for name in ("dtype", "device", "prompt_tokens", "new_tokens", "rounds", "size"):
        first += [f"--{name.replace('_', '-')}", str(getattr(flags, name))]
    first += ["--ranks", "1" if kind == ALONE else kind]
    first += ["--batches", *map(str, flags.batches)]
    return first + (["--nccl-alone"] if kind == ALONE else [])


def build_all(work: Path, flags: argparse.Namespace) -> None:
    """Build the engines of all kinds, at the same time: a compiler keeps one core busy."""
    commands = [command(flags, kind, "--build", str(place_of(kind, work))) for kind in kinds(flags)]
    for process in [subprocess.Popen(words) for words in commands]:
        if process.wait():
            raise SystemExit(process.returncode)


def measure(kind: str, work: Path, flags: argparse.Namespace) -> list[Row]:
    """Ask the engine of a kind in processes of its own."""
    directory = place_of(kind, work)
    ranks = 1 if kind == ALONE else int(kind)
    first = command(flags, kind, "--answer", str(directory))
    follower = [sys.executable, "-m", "mmtrt.native.rank_follower", "--llm-dir", str(directory)]
    status = launch(first, follower, ranks)
    if status:
        raise SystemExit(status)
    rows = json.loads((directory / "rows.json").read_text())["rows"]
    for row in rows:
        told = {name: value for name, value in row.items() if name != "tokens"}
        print(json.dumps({**told, "ranks": kind}), flush=True)
    return [Row(**{**row, "ranks": kind}) for row in rows]


def build(directory: Path, flags: argparse.Namespace) -> None:
    """Write the engine directory: packages once, weights for each rank."""
    (ranks,), sums = flags.ranks, flags.nccl_alone
    hidden, inner, layers, heads, kv_heads = TEXT[flags.size]
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
    )
    limits = limits_of(flags)
    directory.mkdir()
    for rank in range(ranks):
        decoder = decoder_of(config, rank, ranks, limits, flags, sums=sums)
        if rank == 0:
            compile_decoder(decoder, directory, limits=limits, special_tokens=SpecialTokens())
        decoder.ranks = ranks
        save_weights(decoder, directory)
        del decoder
        gc.collect()
    if sums:
        document = json.loads((directory / "aot.json").read_text())
        write_json(directory / "aot.json", {**document, "ranks": 1})


def decoder_of(
    config: LlamaConfig,
    rank: int,
    ranks: int,
    limits: LlmLimits,
    flags: argparse.Namespace,
    *,
    sums: bool,
) -> MergedDecoder:
    """Return a rank's decoder; the same seed gives every rank its part of the same model."""
    device, dtype = torch.device(flags.device), DTYPES[flags.dtype]
    torch.manual_seed(SEED)
    with no_init_weights(), device:
        model = LlamaForCausalLM._from_config(config, dtype=dtype)
    split = split_of(config, ranks)
    with torch.no_grad():
        for name, parameter in list(model.named_parameters()):
            parameter.normal_(0, 0.02) if parameter.ndim > 1 else parameter.fill_(1)
            part = split.part(name, rank) if ranks > 1 else None
            if part is None:
                continue
            kept = parameter.narrow(part.axis, part.begin, part.end - part.begin)
            padded = torch.nn.functional.pad(kept, (0, 0, 0, part.padding)).clone()
            module, _, kind = name.rpartition(".")
            setattr(model.get_submodule(module), kind, torch.nn.Parameter(padded, False))
    decoder = MergedDecoder(
        model, limits.max_seq_len, dtype=dtype, device=device, rank=rank, ranks=ranks
    )
    if sums:
        # As for several ranks, of which there is one.
        decoder.ranks = 2
        decoder.first_id = torch.zeros((1, 1), dtype=torch.int64, device=device)
    return decoder


def limits_of(flags: argparse.Namespace) -> LlmLimits:
    batch = max(flags.batches)
    return LlmLimits(
        max_batch_size=batch,
        max_input_len=flags.prompt_tokens,
        max_seq_len=flags.prompt_tokens + flags.new_tokens,
        max_num_tokens=batch * flags.prompt_tokens,
        max_multimodal_len=batch,
    )


def answer(flags: argparse.Namespace) -> int:
    """Answer with every batch size, and write what was measured beside the engine."""
    if flags.nccl_alone:
        torch.cuda.set_device(0)
        store = distributed.FileStore(str(flags.answer / "meeting"), 1)
        distributed.init_process_group("nccl", store=store, rank=0, world_size=1)
    session = AotSession(flags.answer)
    rows, first = [], {}
    for batch in flags.batches:
        make = torch.Generator().manual_seed(batch)
        sizes = [flags.prompt_tokens - 7 * row for row in range(batch)]
        prompts = [torch.randint(5, VOCAB, (size,), generator=make).tolist() for size in sizes]
        ask = partial(session.generate, prompts, max_new_tokens=flags.new_tokens)
        found = ask(keep_logits=True)
        first[f"{batch}"] = torch.from_numpy(found.logits[0]).clone()
        timed = [ask() for _ in range(flags.rounds)]
        rows.append(
            Row(
                ranks="",
                batch=batch,
                prefill_ms=statistics.median(each.prefill_ms for each in timed),
                decode_ms=statistics.median(statistics.mean(each.decode_ms) for each in timed),
                peak_gib=torch.cuda.max_memory_allocated() / 2**30
                if flags.device == "cuda"
                else 0.0,
                weights_mib=sum(each.nbytes for each in session._weights.values()) / 2**20,
                tokens=found.token_ids,
            )
        )
    write_json(flags.answer / "rows.json", {"rows": [asdict(row) for row in rows]})
    name = flags.answer.name
    torch.save(first, flags.answer.parent.parent / f"{flags.answer.parent.name}-{name}.pt")
    return 0


def compare(rows: list[Row], work: Path) -> None:
    """Add how far each row's answers are from those of one rank."""
    kept = {
        kind: work.parent / f"{work.name}-{kind.replace(', ', '-')}.pt"
        for kind in dict.fromkeys(row.ranks for row in rows)
    }
    logits = {kind: torch.load(path) for kind, path in kept.items()}
    for path in kept.values():
        path.unlink()
    alone = {row.batch: row for row in rows if row.ranks == "1"}
    for place, row in enumerate(rows):
        if row.batch not in alone:
            continue
        key = f"{row.batch}"
        far = (logits[row.ranks][key] - logits["1"][key]).abs().max().item()
        pairs = list(zip(row.tokens, alone[row.batch].tokens))
        same = [
            sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(*each))) for each in pairs
        ]
        share = sum(same) / sum(len(a) for a, _ in pairs)
        rows[place] = replace(row, error=far, same_tokens=share)


def table(rows: list[Row]) -> str:
    lines = [
        "| ranks | batch | prefill ms | decode ms/step | faster | peak GiB a rank | "
        "weights MiB a rank | logits differ by | same tokens |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    alone = {row.batch: row.decode_ms for row in rows if row.ranks == "1"}
    for row in rows:
        faster = f"{alone[row.batch] / row.decode_ms:.2f}x" if row.batch in alone else ""
        lines.append(
            f"| {row.ranks} | {row.batch} | {row.prefill_ms:.2f} | {row.decode_ms:.3f} | {faster} "
            f"| {row.peak_gib:.2f} | {row.weights_mib:.1f} | {row.error:.2g} "
            f"| {row.same_tokens:.0%} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
