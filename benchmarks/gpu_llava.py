"""LLaVA of random weights on a GPU: the aot_inductor engine beside Hugging Face's generate.

    python -m benchmarks.gpu_llava --sizes 1.5b 3b 7b --check check --json gpu.json
    python -m benchmarks.gpu_llava --sizes 7b --quant none,int8_wo,int4_wo,fp8 --batches 1 \
        --static-batches --check check --brief --work DIR --parallel --json quant.json

Needs torch with a GPU, transformers and g++; no weights and no network. One process measures the
memory's copy bandwidth, then, for each size, ``generate`` with a growing cache, ``generate`` with a
static cache and compiled steps, and the engine, on the same weights and prompts. With ``--quant``
there is an engine for each number format; its weights are rounded on the GPU and compared with
transformers on the same rounded weights. ``--device cpu`` with ``--sizes toy`` only shows that the
script works.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

from benchmarks.gpu_rounding import FORMATS, packed_layer, rounded
from mmtrt.native.aot_build import compile_decoder
from mmtrt.native.aot_config import CONFIG_FILE, read_aot_config
from mmtrt.native.aot_llm import MergedDecoder
from mmtrt.native.aot_session import AotSession
from mmtrt.native.component import SpecialTokens
from mmtrt.native.limits import LlmLimits

VOCAB, IMAGE = 32064, 32000
SEED = 20

# hidden, intermediate, layers, heads, key/value heads; the shapes of Llama models of these sizes.
TEXT = {
    "toy": (256, 512, 2, 4, 2),
    "check": (2048, 5504, 4, 16, 4),
    "1.5b": (2048, 5504, 24, 16, 16),
    "3b": (3072, 8192, 28, 24, 8),
    "7b": (4096, 11008, 32, 32, 32),
}
SMALL_TOWER = ("toy", "check")


@dataclass
class Row:
    """What was measured of one contender at one batch size."""

    size: str
    contender: str
    batch: int
    quant: str = "none"
    weights_gib: float | None = None
    """What a decode step reads of the weights."""
    prefill_tokens_s: float | None = None
    first_token_ms: float | None = None
    decode_tokens_s: float = 0.0
    decode_ms: float = 0.0
    of_floor: float | None = None
    peak_gib: float = 0.0
    ready_s: float = 0.0


@dataclass
class Report:
    """All results of a run."""

    machine: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)


def main() -> int:
    """Measure, print tables and write JSON; status 1 if a goal or a check fails."""
    started = perf_counter()
    flags = parse_flags()
    device = torch.device(flags.device)
    torch.manual_seed(SEED)
    report = Report(machine={})
    if flags.sizes and not flags.compile:
        report.machine = machine(device)
        print(json.dumps(report.machine), flush=True)
    compiling = start_compiling(flags) if flags.parallel else []
    checks = start_checks(flags) if flags.parallel else {}
    for format_ in flags.check_quant if flags.check and not checks else ():
        check_accuracy(report, device, flags.check, format_, flags)
    for place, process in checks.items():
        process.wait()
        found = json.loads(place.read_text())["checks"] if place.is_file() else []
        report.checks += found or [{"check": str(place), "passed": False}]
    for process in compiling:
        process.wait()
    if flags.parallel:
        print(f"compiled and checked after {perf_counter() - started:.0f} s", flush=True)
    for size in flags.sizes:
        measure(report, size, device, flags)
        write(report, flags.json)
    if flags.compile:
        return 0
    if report.rows:
        print(markdown(report))
    write(report, flags.json)
    return 0 if all(check["passed"] for check in report.checks) else 1


def parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="*", choices=tuple(TEXT), default=["1.5b", "3b", "7b"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--static-batches", nargs="*", type=int, default=[1, 8])
    parser.add_argument("--check", choices=tuple(TEXT), help="size of the accuracy check")
    parser.add_argument("--text-tokens", type=int, default=64, help="beside the image's features")
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plain", action="store_true", help="also the engine without our kernels")
    parser.add_argument("--work", type=Path, help="keep packages here; take those that are there")
    parser.add_argument("--compile", metavar="NAME", help="only compile this package into --work")
    parser.add_argument("--parallel", action="store_true", help="compile in many processes first")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=JSON")
    parser.add_argument("--quant", type=formats, default=["none"], metavar="FORMAT,...")
    parser.add_argument("--check-quant", type=formats, help="formats to check (default --quant)")
    parser.add_argument("--brief", action="store_true", help="checks in float32 alone")
    flags = parser.parse_args()
    flags.check_quant = flags.check_quant or flags.quant
    return flags


def formats(text: str) -> list[str]:
    """Return the formats of a list with commas between them."""
    found = text.split(",")
    if not set(found) <= {"none", *FORMATS}:
        raise argparse.ArgumentTypeError(f"formats are none, {', '.join(FORMATS)}")
    return found


def packages_of(flags: argparse.Namespace) -> tuple[str, ...]:
    """Return the packages of an engine; one for batch 1 alone has no other for decode steps."""
    return ("prompt", "token", "token_1") if max(flags.batches) > 1 else ("prompt", "token_1")


def start_compiling(flags: argparse.Namespace) -> list[subprocess.Popen[bytes]]:
    """Start one process for each package of each size; they end with it in --work."""
    if not flags.work:
        raise SystemExit("--parallel needs --work")
    settings = ["--work", str(flags.work), "--batches", *map(str, flags.batches)]
    settings += ["--text-tokens", str(flags.text_tokens), "--new-tokens", str(flags.new_tokens)]
    return [
        start(
            flags,
            f"{size}-{format_}-{name}",
            ["--compile", name, "--sizes", size, "--quant", format_, *settings],
        )
        # The tuned ones take longest.
        for name in reversed(packages_of(flags))
        for size in flags.sizes
        for format_ in flags.quant
    ]


def start_checks(flags: argparse.Namespace) -> dict[Path, subprocess.Popen[bytes]]:
    """Start one process for the check of each format; results come in these files."""
    found = {}
    for format_ in flags.check_quant if flags.check else ():
        place = flags.work / f"check-{format_}.json"
        place.unlink(missing_ok=True)
        words = ["--sizes", "--check", flags.check, "--quant", format_, "--json", str(place)]
        words += ["--brief"] if flags.brief else []
        found[place] = start(flags, f"check-{format_}", words)
    return found


def start(flags: argparse.Namespace, name: str, words: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start this script once more; no two share what inductor keeps on disk."""
    flags.work.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(flags.work / "cache" / name)}
    env["TORCHINDUCTOR_COMPILE_THREADS"] = "4"
    argv = [sys.executable, "-m", "benchmarks.gpu_llava", "--device", flags.device, *words]
    return subprocess.Popen(argv, env=env)


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the numbers depend on."""
    found = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "device": device.type,
    }
    if device.type == "cuda":
        found["device"] = torch.cuda.get_device_name()
        found["copy_gb_s"] = round(copy_bandwidth(device) / 1e9, 1)
    return found


def copy_bandwidth(device: torch.device) -> float:
    """Return bytes read plus bytes written a second, of the faster of two ways to copy."""
    source = torch.randn(2**29, device=device)
    target = torch.empty_like(source)
    ways = (lambda: target.copy_(source), lambda: torch.mul(source, 1.0, out=target))
    medians = [statistics.median(timed(way, device) for _ in range(20)) for way in ways]
    return 2 * source.numel() * source.element_size() / min(medians)


def timed(work: Callable[[], Any], device: torch.device) -> float:
    """Return the seconds that ``work`` takes, until the device is done with it."""
    synchronise(device)
    started = perf_counter()
    work()
    synchronise(device)
    return perf_counter() - started


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


@contextmanager
def peak(row: Row, device: torch.device) -> Iterator[None]:
    """Note the highest memory use in between, and the time that it took."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    yield
    if device.type == "cuda":
        row.peak_gib = torch.cuda.max_memory_allocated() / 2**30


def config_of(size: str) -> LlavaConfig:
    hidden, intermediate, layers, heads, kv_heads = TEXT[size]
    text = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
    )
    small = size in SMALL_TOWER
    vision = CLIPVisionConfig(
        hidden_size=64 if small else 1024,
        intermediate_size=128 if small else 4096,
        num_hidden_layers=2 if small else 24,
        num_attention_heads=2 if small else 16,
        image_size=112 if small else 336,
        patch_size=14,
    )
    rows = (vision.image_size // vision.patch_size) ** 2
    return LlavaConfig(
        text_config=text, vision_config=vision, image_token_index=IMAGE, image_seq_length=rows
    )


def make_model(size: str, device: torch.device, dtype: torch.dtype) -> Any:
    """Return a LLaVA of random weights, made on the device."""
    torch.manual_seed(SEED)
    with device:
        model = LlavaForConditionalGeneration._from_config(
            config_of(size), dtype=dtype, attn_implementation="sdpa"
        )
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return model.to(device).eval()


@dataclass
class Prompts:
    """The same request, or requests of different lengths, for all contenders."""

    ids: torch.Tensor
    """int64 ``[B, S]``, padded at the left; the image is a run of its placeholder."""
    mask: torch.Tensor
    pixels: torch.Tensor
    engine: list[list[int]]
    """Without padding; the image is rows of the prompt table."""


def make_prompts(model: Any, batch: int, text_tokens: int, *, ragged: bool = False) -> Prompts:
    rows, size = model.config.image_seq_length, model.config.vision_config.image_size
    make = torch.Generator().manual_seed(SEED)
    texts = [
        torch.randint(5, IMAGE, (text_tokens - (5 * row if ragged else 0),), generator=make)
        for row in range(batch)
    ]
    placeholders = torch.full((rows,), IMAGE)
    whole = [torch.cat([text[:4], placeholders, text[4:]]) for text in texts]
    longest = max(map(len, whole))
    ids = torch.zeros((batch, longest), dtype=torch.int64)
    mask = torch.zeros_like(ids)
    engine = []
    for row, prompt in enumerate(whole):
        ids[row, longest - len(prompt) :] = prompt
        mask[row, longest - len(prompt) :] = 1
        table = range(VOCAB + row * rows, VOCAB + (row + 1) * rows)
        engine.append([*prompt[:4].tolist(), *table, *prompt[4 + rows :].tolist()])
    pixels = torch.randn((batch, 3, size, size), generator=make)
    device = model.device
    return Prompts(ids.to(device), mask.to(device), pixels.to(device, model.dtype), engine)


def features_of(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Return the prompt table, ``[B rows, H]``."""
    with torch.inference_mode():
        found = model.model.get_image_features(pixel_values=pixels).pooler_output
        return torch.cat(list(found)).clone()


def generate(model: Any, prompts: Prompts, new_tokens: int, **settings: Any) -> Any:
    return model.generate(
        input_ids=prompts.ids,
        attention_mask=prompts.mask,
        pixel_values=prompts.pixels,
        max_new_tokens=new_tokens,
        do_sample=False,
        **settings,
    )


def measure(report: Report, size: str, device: torch.device, flags: argparse.Namespace) -> None:
    """Add the rows of one size; contenders follow each other in this process."""
    if flags.compile:
        (format_,) = flags.quant
        config = config_of(size)
        limits = limits_of(config, flags)
        decoder = MergedDecoder(
            made_up(config.text_config, format_, device),
            limits.max_seq_len,
            dtype=torch.bfloat16,
            device=device,
        )
        build(decoder, flags.work / f"{size}-{format_}", limits, flags)
        return
    model = make_model(size, device, torch.bfloat16)
    tokens = flags.new_tokens
    for batch in flags.batches:
        prompts = make_prompts(model, batch, flags.text_tokens)
        row = Row(size, "HF generate", batch)
        run = lambda n: generate(model, prompts, n)  # noqa: B023, E731 - called in this round
        with peak(row, device):
            time_generate(row, run, batch, tokens, flags.rounds, device)
            seconds = time_hf_prefill(model, prompts, flags.rounds, device)
        row.prefill_tokens_s = prompts.ids.numel() / seconds
        add(report, row)
    for batch in flags.static_batches:
        prompts = make_prompts(model, batch, flags.text_tokens)
        row = Row(size, "HF generate, static cache, compiled", batch)
        run = lambda n: generate(model, prompts, n, cache_implementation="static")  # noqa: B023, E731
        with peak(row, device):
            try:
                time_generate(row, run, batch, tokens, flags.rounds, device)
            except Exception as error:  # noqa: BLE001 - a contender that fails is reported so
                print(f"{row.contender} failed: {error!r}"[:600], flush=True)
                continue
        add(report, row)
    torch._dynamo.reset()
    free(device)
    for format_ in flags.quant:
        measure_engine(report, size, model, format_, device, flags)
        free(device)


def measure_engine(
    report: Report,
    size: str,
    model: Any,
    format_: str,
    device: torch.device,
    flags: argparse.Namespace,
) -> None:
    name = "engine" if format_ == "none" else f"engine, {format_}"
    kinds = [(name, True)] + ([(f"{name}, without our kernels", False)] if flags.plain else [])
    prompts = {batch: make_prompts(model, batch, flags.text_tokens) for batch in flags.batches}
    agree = {}
    same = model if format_ == "none" else rounded_model(model, format_)
    for batch in flags.batches:
        agree[batch] = generate(
            *(same, prompts[batch], min(16, flags.new_tokens)),
            output_logits=True,
            return_dict_in_generate=True,
        )
    del same
    free(device)
    limits = limits_of(model.config, flags)
    started = perf_counter()
    decoder = MergedDecoder(
        language_model(model, format_), limits.max_seq_len, dtype=torch.bfloat16, device=device
    )
    merge_s = perf_counter() - started
    for name, uses_triton in kinds:
        with tempfile.TemporaryDirectory() as work:
            started = perf_counter()
            kept = flags.work and uses_triton
            place = flags.work / f"{size}-{format_}" if kept else Path(work)
            session = build(decoder, place, limits, flags, uses_triton)
            ready_s = merge_s + perf_counter() - started
            print(f"{size}: {name} ready in {ready_s:.0f} s", flush=True)
            for batch in flags.batches:
                row = Row(size, name, batch, quant=format_, ready_s=ready_s)
                with peak(row, device):
                    time_engine(row, session, model, prompts[batch], flags, device)
                row.weights_gib = read_bytes(decoder) / 2**30
                row.of_floor = of_floor(report, decoder, row)
                add(report, row)
                compare(report, row, session, model, prompts[batch], agree[batch])
            del session
            free(device)


def limits_of(config: LlavaConfig, flags: argparse.Namespace) -> LlmLimits:
    """Return limits that just hold the largest measurement."""
    most, rows = max(flags.batches), config.image_seq_length
    length = rows + flags.text_tokens
    return LlmLimits(
        max_batch_size=most,
        max_input_len=length,
        max_seq_len=length + flags.new_tokens,
        max_num_tokens=most * length,
        max_multimodal_len=most * rows,
    )


def language_model(model: Any, format_: str = "none") -> Any:
    """Return LLaVA's language model as a causal language model of its own, packed layer by layer.

    The model keeps its weights; those that are packed are made while a decoder takes them.
    """
    inner = model.model.language_model
    return SimpleNamespace(
        config=model.config.text_config,
        model=SimpleNamespace(
            embed_tokens=inner.embed_tokens,
            layers=(packed_layer(layer, format_) for layer in inner.layers),
            norm=inner.norm,
            rotary_emb=inner.rotary_emb,
        ),
        lm_head=model.lm_head,
    )


def made_up(config: Any, format_: str, device: torch.device) -> Any:
    """Return a language model to compile with: packages hold no weights, so any will do.

    Never the whole model lies on the device unpacked, so that many processes fit beside each other.
    """

    def layer() -> Any:
        with device:
            made = LlamaDecoderLayer(config, 0).to(torch.bfloat16)
        return packed_layer(made, format_)

    with device:
        shape = (config.vocab_size, config.hidden_size)
        embed, head = (torch.zeros(shape, dtype=torch.bfloat16) for _ in range(2))
        return SimpleNamespace(
            config=config,
            model=SimpleNamespace(
                embed_tokens=SimpleNamespace(weight=embed),
                layers=(layer() for _ in range(config.num_hidden_layers)),
                norm=SimpleNamespace(weight=torch.ones(config.hidden_size)),
                rotary_emb=LlamaRotaryEmbedding(config),
            ),
            lm_head=SimpleNamespace(weight=head),
        )


def rounded_model(model: Any, format_: str) -> Any:
    """Return a copy whose weights are what the packed ones stand for."""
    same = deepcopy(model)
    for layer in same.model.language_model.layers:
        for linear in layer.modules():
            if isinstance(linear, torch.nn.Linear):
                linear.weight.data.copy_(rounded(linear, format_))
    return same


def build(
    decoder: MergedDecoder,
    work: Path,
    limits: LlmLimits,
    flags: argparse.Namespace,
    uses_triton: bool = True,
    *,
    tunes: bool = True,
) -> AotSession | None:
    """Compile what is missing and load it; compile one package and return none if asked to."""
    options = {name: json.loads(value) for name, value in (o.split("=") for o in flags.option)}
    present = {path.stem for path in work.glob("*.pt2")}
    if present and (work / CONFIG_FILE).is_file() and read_aot_config(work).limits != limits:
        # A cache of another length would be read with the strides of theirs, without a word.
        raise SystemExit(f"{work} holds packages for other limits: empty it, or give their flags")
    compile_decoder(
        decoder,
        work,
        limits=limits,
        special_tokens=SpecialTokens(image=IMAGE),
        options=options,
        uses_triton=uses_triton,
        tunes=tunes,
        only={flags.compile} if flags.compile else {"prompt", "token", "token_1"} - present,
    )
    if flags.compile:
        return None
    state = {f"decoder.{name}": tensor for name, tensor in decoder.state_dict().items()}
    return AotSession(work, weights=state)


def time_generate(
    row: Row,
    run: Callable[[int], Any],
    batch: int,
    tokens: int,
    rounds: int,
    device: torch.device,
) -> None:
    """Time ``generate`` for one token and for all; the difference is the decode steps'."""
    started = perf_counter()
    run(tokens)
    row.ready_s = perf_counter() - started
    run(1)
    first = statistics.median(timed(lambda: run(1), device) for _ in range(rounds))
    whole = statistics.median(timed(lambda: run(tokens), device) for _ in range(rounds))
    row.first_token_ms = first * 1e3
    row.decode_ms = (whole - first) / (tokens - 1) * 1e3
    row.decode_tokens_s = batch / row.decode_ms * 1e3


def time_hf_prefill(model: Any, prompts: Prompts, rounds: int, device: torch.device) -> float:
    """Return the seconds of the language model alone, without generate's own work."""
    table = features_of(model, prompts.pixels)
    embeds = model.get_input_embeddings()(prompts.ids)
    embeds = embeds.masked_scatter((prompts.ids == IMAGE)[..., None], table.to(embeds.dtype))

    def run() -> Any:
        with torch.inference_mode():
            out = model.model.language_model(inputs_embeds=embeds, use_cache=True)
            return model.lm_head(out.last_hidden_state[:, -1])

    run()
    return statistics.median(timed(run, device) for _ in range(rounds))


def time_engine(
    row: Row,
    session: AotSession,
    model: Any,
    prompts: Prompts,
    flags: argparse.Namespace,
    device: torch.device,
) -> None:
    table = features_of(model, prompts.pixels)

    def prefill() -> Any:
        return session.prefill(prompts.engine, table, new_tokens=flags.new_tokens)

    def first() -> Any:
        logits = session.prefill(
            prompts.engine, features_of(model, prompts.pixels), new_tokens=flags.new_tokens
        )
        return logits.argmax(-1).tolist()

    def steps() -> None:
        for _ in range(flags.new_tokens - 1):
            session.decode()
        session._answers(flags.new_tokens)

    for _ in range(2):
        prefill()
        steps()
    fill = statistics.median(timed(prefill, device) for _ in range(flags.rounds))
    row.first_token_ms = statistics.median(timed(first, device) for _ in range(flags.rounds)) * 1e3
    row.prefill_tokens_s = prompts.ids.numel() / fill
    seconds = []
    for _ in range(flags.rounds):
        prefill()
        seconds.append(timed(steps, device))
    row.decode_ms = statistics.median(seconds) / (flags.new_tokens - 1) * 1e3
    row.decode_tokens_s = row.batch / row.decode_ms * 1e3


def of_floor(report: Report, decoder: MergedDecoder, row: Row) -> float | None:
    """Return the share of the bound: bytes of weights that a step reads over copy bandwidth."""
    if "copy_gb_s" not in report.machine:
        return None
    return read_bytes(decoder) / (report.machine["copy_gb_s"] * 1e9) * 1e3 / row.decode_ms


def read_bytes(decoder: MergedDecoder) -> int:
    """Return the bytes of weights that a step reads: all, scales too, but not the embedding."""
    return sum(each.nbytes for each in decoder.parameters()) - decoder.embed.nbytes


def compare(
    report: Report, row: Row, session: AotSession, model: Any, prompts: Prompts, theirs: Any
) -> None:
    """Compare the engine with HF in the same number format, along HF's tokens."""
    table = features_of(model, prompts.pixels)
    forced = theirs.sequences[:, prompts.ids.shape[1] :]
    ours = along(session, prompts, table, forced)
    errors = [relative(a, b.float()) for a, b in zip(ours, theirs.logits)]
    # The kernels keep packed weights exact, transformers has them rounded to bfloat16 once more.
    most = 0.05 if row.quant == "none" else 0.1
    agreed = [bool((a.argmax(-1) == b.argmax(-1)).all()) for a, b in zip(ours, theirs.logits)]
    report.checks.append(
        {
            "check": "bfloat16 logits, engine to HF bfloat16",
            "quant": row.quant,
            "size": row.size,
            "contender": row.contender,
            "batch": row.batch,
            "relative_error": max(errors),
            "same_choice": f"{sum(agreed)} of {len(agreed)} steps",
            "passed": max(errors) < most,
        }
    )
    print(report.checks[-1], flush=True)


def along(
    session: AotSession, prompts: Prompts, table: torch.Tensor, forced: torch.Tensor
) -> list[torch.Tensor]:
    """Return the engine's logits of each step, given the tokens to take."""
    steps = forced.shape[1]
    found = [session.prefill(prompts.engine, table, new_tokens=steps).clone()]
    for step in range(steps - 1):
        found.append(session.decode(forced[:, step].tolist()).clone())
    return found


def relative(ours: torch.Tensor, reference: torch.Tensor) -> float:
    return float((ours - reference).norm() / reference.norm())


def check_accuracy(
    report: Report, device: torch.device, size: str, format_: str, flags: argparse.Namespace
) -> None:
    """Compare with HF in float32: tokens, logits, and what bfloat16 loses in both.

    HF has the rounded weights of the format.
    """
    torch.set_float32_matmul_precision("highest")
    exact = make_model(size, device, torch.bfloat16).float()
    same = exact if format_ == "none" else rounded_model(exact, format_)
    steps, batch = 32, 3
    prompts = make_prompts(exact, batch, 24, ragged=True)
    settings = {"output_logits": True, "return_dict_in_generate": True}
    reference = generate(same, prompts, steps, **settings)
    forced = reference.sequences[:, prompts.ids.shape[1] :]
    table = features_of(exact, prompts.pixels)
    length = prompts.ids.shape[1]
    limits = LlmLimits(
        max_batch_size=batch,
        max_input_len=length,
        max_seq_len=length + steps,
        max_num_tokens=batch * length,
        max_multimodal_len=batch * exact.config.image_seq_length,
    )
    plain = argparse.Namespace(option=[], compile=None)
    for dtype in (torch.float32,) if flags.brief else (torch.float32, torch.bfloat16):
        decoder = MergedDecoder(
            language_model(exact, format_), limits.max_seq_len, dtype=dtype, device=device
        )
        with tempfile.TemporaryDirectory() as work:
            session = build(decoder, Path(work), limits, plain, tunes=False)
            for rows in (batch, 1):
                some = Prompts(
                    prompts.ids[:rows], prompts.mask[:rows], prompts.pixels, prompts.engine[:rows]
                )
                ours = along(session, some, table, forced[:rows])
                errors = [relative(a, b[:rows]) for a, b in zip(ours, reference.logits)]
                result: dict[str, Any] = {
                    "check": f"{dtype} logits, engine to HF float32".replace("torch.", ""),
                    "size": size,
                    "quant": format_,
                    "batch": rows,
                    "relative_error": max(errors),
                }
                if dtype == torch.float32:
                    answer = session.generate(some.engine, table, max_new_tokens=steps)
                    result["same_tokens"] = answer.token_ids == forced[:rows].tolist()
                    result["distinct_tokens"] = len(set(forced[:rows].flatten().tolist()))
                    result["passed"] = result["same_tokens"] and max(errors) < 1e-4
                else:
                    theirs = hf_bfloat16(same, some, table, forced[:rows])
                    bound = [relative(a, b[:rows]) for a, b in zip(theirs, reference.logits)]
                    result["hf_bfloat16_error"] = max(bound)
                    result["passed"] = max(errors) < 1.25 * max(bound)
                report.checks.append(result)
                print(result, flush=True)
            del session
        del decoder
        free(device)


def hf_bfloat16(
    model: Any, prompts: Prompts, table: torch.Tensor, forced: torch.Tensor
) -> list[torch.Tensor]:
    """Return the logits that HF has in bfloat16, given the tokens to take."""
    half = deepcopy(model).to(torch.bfloat16)
    with torch.inference_mode():
        return hf_along(half, prompts, table.to(torch.bfloat16), forced)


def hf_along(
    model: Any, prompts: Prompts, table: torch.Tensor, forced: torch.Tensor
) -> list[torch.Tensor]:
    """Return HF's logits of each step, given the tokens to take; the whole text in each."""
    found = []
    for step in range(forced.shape[1]):
        ids = torch.cat([prompts.ids, forced[:, :step]], 1)
        mask = torch.cat([prompts.mask, torch.ones_like(forced[:, :step])], 1)
        embeds = model.get_input_embeddings()(ids)
        embeds = embeds.masked_scatter((ids == IMAGE)[..., None], table)
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        out = model.model.language_model(
            inputs_embeds=embeds, attention_mask=mask, position_ids=places, use_cache=False
        )
        found.append(model.lm_head(out.last_hidden_state[:, -1]).float())
    return found


def free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def add(report: Report, row: Row) -> None:
    report.rows.append(row)
    print(json.dumps(asdict(row)), flush=True)


def write(report: Report, path: Path | None) -> None:
    if path:
        path.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")


def markdown(report: Report) -> str:
    """Return the rows as a table, each decode rate also as a multiple of HF generate's."""
    base = {
        (row.size, row.batch): row.decode_tokens_s
        for row in report.rows
        if row.contender == "HF generate"
    }
    lines = [
        "| size | batch | contender | prefill tok/s | first token, image included "
        "| decode tok/s | a step | times HF generate | weights read | of the floor | peak memory "
        "| ready after |",
        "| --- " * 12 + "|",
    ]
    for row in sorted(report.rows, key=lambda row: (list(TEXT).index(row.size), row.batch)):
        fill = f"{row.prefill_tokens_s:,.0f}" if row.prefill_tokens_s else ""
        floor = f"{row.of_floor:.0%}" if row.of_floor and row.batch == 1 else ""
        read = f"{row.weights_gib:.2f} GiB" if row.weights_gib else ""
        times = row.decode_tokens_s / base.get((row.size, row.batch), float("nan"))
        lines.append(
            f"| {row.size} | {row.batch} | {row.contender} | {fill} | {row.first_token_ms:.1f} ms "
            f"| {row.decode_tokens_s:,.0f} | {row.decode_ms:.2f} ms | {times:.2f}x | {read} "
            f"| {floor} | {row.peak_gib:.1f} GiB | {row.ready_s:.0f} s |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
