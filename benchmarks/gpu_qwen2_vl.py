"""Small Qwen2-VL and Qwen2.5-VL of random weights: packages beside Hugging Face's generate.

    python -m benchmarks.gpu_qwen2_vl

Shows that answers are the same, not how fast they are: pictures of several sizes, none, and videos,
one of them slow; greedy tokens and the logits of every step in float32, and bfloat16 beside what
Hugging Face loses by it. Needs torch with a GPU, transformers and g++; no weights and no network.
Each model is a process of its own, all at the same time. ``--device cpu`` only shows that the
script works. Status 1 if a check fails.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from torch.nn.functional import pad

from mmtrt.native.aot_build import DTYPES, compile_decoder
from mmtrt.native.aot_graphs import AotGraph, compile_graph
from mmtrt.native.aot_llm import MergedDecoder
from mmtrt.native.aot_session import AotSession
from mmtrt.native.component import CONFIG_FILE, SpecialTokens
from mmtrt.native.families.qwen2_5_vl import Qwen25Vl, Qwen25VlFrontend
from mmtrt.native.families.qwen2_vl import Qwen2Vl, Qwen2VlFrontend
from mmtrt.native.frontend import Prepared
from mmtrt.native.json_file import write_json
from mmtrt.native.limits import LlmLimits
from mmtrt.native.positions import Positions, positions_of

RUNS = ("qwen2_vl-float32", "qwen2_5_vl-float32", "qwen2_5_vl-bfloat16")
VOCAB, IMAGE, VIDEO, START, END = 384, 380, 381, 382, 383
MERGE, PATCH, STEPS = 2, 8, 40
"""More steps than lie between two looks at the answers."""
SEED = 20
MAX_BATCH, MAX_LENGTH = 3, 160
TOLERANCE = 1e-4

TEXT = {
    "vocab_size": VOCAB,
    # Heads of 32, which the kernels take.
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "mrope_section": [4, 6, 6],
    },
    "bos_token_id": None,
    "eos_token_id": None,
}
IDS = {
    "image_token_id": IMAGE,
    "video_token_id": VIDEO,
    "vision_start_token_id": START,
    "vision_end_token_id": END,
    "tie_word_embeddings": False,
}
TOWER = {"depth": 2, "num_heads": 4, "patch_size": PATCH, "spatial_merge_size": MERGE}


@dataclass(frozen=True)
class Shown:
    """What one request shows: grids of patches, a video's seconds between two steps."""

    grids: Sequence[tuple[int, int, int]] = ()
    seconds: float | None = None
    """``None``: the grids are those of pictures."""


# Batches of one size follow each other with other shifts: a captured step is replayed.
BATCHES = (
    (Shown([(1, 6, 8)]),),
    (Shown([(4, 4, 6)], seconds=120.0),),
    (Shown(),),
    (Shown([(1, 4, 4), (1, 10, 4)]), Shown(), Shown([(1, 8, 6)])),
    (Shown([(1, 2, 2)]), Shown([(1, 12, 8)]), Shown([(1, 4, 6), (1, 4, 6)])),
    (Shown([(3, 6, 4)], seconds=0.5), Shown([(5, 4, 4)], seconds=40.0)),
)


def main() -> int:
    """Check all models, or one in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", choices=RUNS, help="one model, in this process")
    flags = parser.parse_args()
    if flags.only:
        with tempfile.TemporaryDirectory() as work:
            return check(*flags.only.split("-"), torch.device(flags.device), Path(work))
    started = perf_counter()
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps(versions), flush=True)
    argv = [sys.executable, "-m", "benchmarks.gpu_qwen2_vl", "--device", flags.device, "--only"]
    running = [subprocess.Popen([*argv, run]) for run in RUNS]
    failed = [run for run, process in zip(RUNS, running) if process.wait()]
    print(f"{perf_counter() - started:.0f} s; failed: {', '.join(failed) or 'none'}", flush=True)
    return 1 if failed else 0


def check(name: str, dtype: str, device: torch.device, work: Path) -> int:
    """Build the engines of one model, ask all batches, and print a line for each."""
    torch.set_float32_matmul_precision("highest")
    model = make_model(name, device)
    family, frontend = frontend_of(name, model)
    started = perf_counter()
    vision = build_vision(family, model, work / "vision", device, dtype)
    session = build_llm(model, work / "llm", device, dtype)
    print(f"{name} {dtype}: built in {perf_counter() - started:.0f} s", flush=True)
    rounded = None if dtype == "float32" else make_model(name, device, getattr(torch, dtype))
    passed = True
    for number, shown in enumerate(BATCHES):
        singles = [request(each, row, number) for row, each in enumerate(shown)]
        if name == "qwen2_vl":
            # It counts steps, and is not told seconds.
            singles = [{k: v for k, v in each.items() if "second" not in k} for each in singles]
        found = ask(frontend, vision, session, model, singles, rounded)
        passed &= found["passed"]
        print(json.dumps({"model": name, "dtype": dtype, "batch": len(shown), **found}), flush=True)
    return 0 if passed else 1


def make_model(name: str, device: torch.device, dtype: torch.dtype = torch.float32) -> Any:
    """Return a model of random weights, the same in every type but for its rounding."""
    if name == "qwen2_vl":
        config = transformers.Qwen2VLConfig(
            text_config=TEXT,
            vision_config={**TOWER, "embed_dim": 64, "hidden_size": TEXT["hidden_size"]},
            **IDS,
        )
        kind = transformers.Qwen2VLForConditionalGeneration
    else:
        windows = {"window_size": 2 * MERGE * PATCH, "fullatt_block_indexes": [1]}
        sizes = {"hidden_size": 64, "intermediate_size": 96}
        vision = {**TOWER, **windows, **sizes, "tokens_per_second": 2}
        config = transformers.Qwen2_5_VLConfig(
            text_config=TEXT, vision_config={**vision, "out_hidden_size": 128}, **IDS
        )
        kind = transformers.Qwen2_5_VLForConditionalGeneration
    model = kind._from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    make = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=make)
            wide = parameter.dim() > 1
            parameter.copy_(noise * 0.12 if wide else 1 + noise * 0.1)
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    model = model.to(device).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model


def frontend_of(name: str, model: Any) -> tuple[Qwen2Vl, Qwen2VlFrontend]:
    """Return the family, and its frontend without tokenizer and files."""
    kinds: dict[str, tuple[Any, Any]] = {
        "qwen2_vl": (Qwen2Vl, Qwen2VlFrontend),
        "qwen2_5_vl": (Qwen25Vl, Qwen25VlFrontend),
    }
    family, frontend = kinds[name]
    special = SimpleNamespace(image=IMAGE)
    llm: Any = SimpleNamespace(vocab_size=VOCAB, hidden_size=128, special_tokens=special)
    return family(), frontend(model.config, Path(), llm)


def build_vision(
    family: Qwen2Vl, model: Any, work: Path, device: torch.device, dtype: str
) -> AotGraph:
    """Compile the encoder of a copy of the model."""
    copy = type(model)._from_config(model.config, dtype=torch.float32)
    copy.load_state_dict(model.state_dict())
    exported = compile_graph(family.vision_graph(copy), work, device=device.type, dtype=dtype)
    sides = {"inputs": exported.inputs, "outputs": exported.outputs}
    document = {side: [asdict(spec) for spec in specs] for side, specs in sides.items()}
    write_json(work / CONFIG_FILE, {**document, "tied_to": {"device": device.type}})
    return AotGraph(work)


def build_llm(model: Any, work: Path, device: torch.device, dtype: str) -> AotSession:
    """Compile the language model; its weights stay where they are."""
    limits = LlmLimits(
        max_batch_size=MAX_BATCH,
        max_input_len=MAX_LENGTH,
        max_seq_len=MAX_LENGTH + STEPS,
        max_num_tokens=MAX_BATCH * MAX_LENGTH,
        max_multimodal_len=MAX_BATCH * MAX_LENGTH,
    )
    whole = SimpleNamespace(
        config=model.config.get_text_config(),
        model=model.model.language_model,
        lm_head=model.lm_head,
    )
    decoder = MergedDecoder(whole, limits.max_seq_len, dtype=DTYPES[dtype], device=device)
    compile_decoder(decoder, work, limits=limits, special_tokens=SpecialTokens(image=IMAGE))
    state = {f"decoder.{name}": tensor for name, tensor in decoder.state_dict().items()}
    return AotSession(work, weights=state)


def request(shown: Shown, row: int, number: int) -> dict[str, Any]:
    """Return what a processor of transformers gives for one request, of random texts and pixels."""
    make = torch.Generator().manual_seed(100 * number + row)
    is_video = shown.seconds is not None
    words = torch.randint(5, IMAGE, (9 + 4 * row,), generator=make).tolist()
    ids = words[:3]
    for grid in shown.grids:
        count = grid[0] * grid[1] * grid[2] // MERGE**2
        ids += [START, *[VIDEO if is_video else IMAGE] * count, END]
    ids += words[3:]
    tokens = torch.tensor([ids])
    types = torch.where(tokens == IMAGE, 1, 0) + torch.where(tokens == VIDEO, 2, 0)
    single: dict[str, Any] = {"input_ids": tokens, "mm_token_type_ids": types}
    if shown.grids:
        patches = sum(grid[0] * grid[1] * grid[2] for grid in shown.grids)
        pixels = torch.randn((patches, 3 * 2 * PATCH**2), generator=make)
        kind = "video" if is_video else "image"
        single["pixel_values_videos" if is_video else "pixel_values"] = pixels
        single[f"{kind}_grid_thw"] = torch.tensor(shown.grids)
    if is_video:
        single["second_per_grid_ts"] = torch.tensor([shown.seconds])
    return single


def ask(
    frontend: Qwen2VlFrontend,
    vision: AotGraph,
    session: AotSession,
    model: Any,
    singles: Sequence[dict[str, Any]],
    rounded: Any,
) -> dict[str, Any]:
    """Compare one batch; along Hugging Face's tokens in float32 where the engine is rounded."""
    prepared = frontend.gathered(
        [{name: value.numpy() for name, value in single.items()} for single in singles],
        [len(single.keys() & {"pixel_values", "pixel_values_videos"}) for single in singles],
    )
    table = None
    if prepared.pixels:
        table = torch.from_numpy(vision.run(["features"], prepared.pixels)[0])
    positions = positions_in(frontend, prepared)
    tokens, logits = generate(model, singles)
    ours = along(session, prepared, table, positions, tokens)
    found: dict[str, Any] = {
        "lengths": [len(prompt) for prompt in prepared.prompts],
        "shifts": positions.shifts[:, 0].tolist(),
        "furthest": int(positions.prompts.max()),
        "distinct_tokens": len({token for row in tokens for token in row}),
        "scale": float(logits.abs().max()),
        "off": float((ours - logits).abs().max()),
    }
    if rounded is None:
        answer = session.generate(
            prepared.prompts, table, max_new_tokens=STEPS, positions=positions
        )
        found["same_tokens"] = answer.token_ids == tokens
        return {**found, "passed": found["same_tokens"] and found["off"] < TOLERANCE}
    # Only the prompt: what Hugging Face in bfloat16 says next would follow other tokens.
    first = float((ours[0] - logits[0]).norm() / logits[0].norm())
    theirs = generate(rounded, singles)[1][0].float()
    bound = float((theirs - logits[0]).norm() / logits[0].norm())
    off = float((ours - logits).norm() / logits.norm())
    found.update(relative=off, relative_first=first, relative_first_hf=bound)
    return {**found, "passed": first < 2 * bound and off < 4 * bound}


def positions_in(frontend: Qwen2VlFrontend, prepared: Prepared) -> Positions:
    """Return what the frontend feeds; it needs no features for that."""
    nobody: Any = None
    feed = frontend.start(prepared, None, nobody).feed
    assert feed is not None
    found = positions_of(feed, prepared.prompts)
    assert found is not None
    return found


def generate(model: Any, singles: Sequence[dict[str, Any]]) -> tuple[list[list[int]], torch.Tensor]:
    """Return Hugging Face's greedy tokens and its logits, float32 ``[steps, B, V]``."""
    longest = max(single["input_ids"].shape[1] for single in singles)

    def padded(name: str) -> torch.Tensor:
        tensors = [single[name] for single in singles]
        return torch.cat([pad(each, (longest - each.shape[1], 0)) for each in tensors])

    given = {name: padded(name) for name in ("input_ids", "mm_token_type_ids")}
    lengths = torch.tensor([single["input_ids"].shape[1] for single in singles])
    given["attention_mask"] = (torch.arange(longest)[None] >= (longest - lengths)[:, None]).long()
    others = {name for single in singles for name in single} - given.keys()
    for name in sorted(others):
        given[name] = torch.cat([single[name] for single in singles if name in single])
    moved = {name: value.to(model.device) for name, value in given.items()}
    for name in ("pixel_values", "pixel_values_videos"):
        if name in moved:
            moved[name] = moved[name].to(model.dtype)
    with torch.inference_mode():
        output = model.generate(
            **moved,
            do_sample=False,
            max_new_tokens=STEPS,
            output_logits=True,
            return_dict_in_generate=True,
        )
    logits = torch.stack(output.logits).float().cpu()
    return output.sequences[:, longest:].tolist(), logits


def along(
    session: AotSession,
    prepared: Prepared,
    table: torch.Tensor | None,
    positions: Positions,
    tokens: Sequence[Sequence[int]],
) -> torch.Tensor:
    """Return the engine's logits of each step, given the tokens to take."""
    logits = session.prefill(prepared.prompts, table, new_tokens=STEPS, positions=positions)
    found = [logits.cpu().clone()]
    for step in range(STEPS - 1):
        found.append(session.decode([row[step] for row in tokens]).cpu().clone())
    return torch.stack(found)


if __name__ == "__main__":
    raise SystemExit(main())
