"""What the ranks of a checkpoint hold, beside the checkpoint of one rank."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmtrt.native.convert import convert, main
from mmtrt.native.errors import NativeError
from mmtrt.native.safetensors_file import CHUNK_BYTES, read_header, write_tensors
from mmtrt.native.tensor_split import Part, TensorSplit, sliced
from tests.native.tiny_llava import make_model


def split(**sizes: int) -> TensorSplit:
    usual = {"ranks": 2, "heads": 4, "kv_heads": 2, "head_size": 8, "inner": 48, "vocab_size": 320}
    return TensorSplit(**{**usual, **sizes})


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    made: dict[str, Path] = {}

    def make(**how: Any) -> Path:
        name = repr(sorted(how.items()))
        if name not in made:
            made[name] = tmp_path_factory.mktemp("model")
            make_model(made[name], **how)
        return made[name]

    return make


def converted(model: Path, output: Path, ranks: int, dtype: str) -> list[dict[str, Any]]:
    convert(model, output, dtype, tp_size=ranks)
    return [load_file(output / f"llm/rank{rank}.safetensors") for rank in range(ranks)]


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize(
    ("how", "dtype"),
    [({"text_type": "qwen2"}, "auto"), ({"text_type": "mistral", "tied": True}, "bfloat16")],
)
def test_ranks_hold_the_whole_model_and_nothing_else(
    models: Callable[..., Path], tmp_path: Path, ranks: int, how: dict[str, Any], dtype: str
) -> None:
    (whole,) = converted(models(**how), tmp_path / "one", 1, dtype)
    parts = converted(models(**how), tmp_path / "many", ranks, dtype)
    assert {frozenset(part) for part in parts} == {frozenset(whole)}
    for name, tensor in whole.items():
        of_ranks = [part[name] for part in parts]
        if "norm" in name:
            assert all(torch.equal(each, tensor) for each in of_ranks)
        elif ".k_proj." in name or ".v_proj." in name:
            # Four ranks share two heads: neighbours have the same one.
            seen = of_ranks if ranks == 2 else of_ranks[::2]
            assert torch.equal(torch.cat(seen), tensor)
            if ranks == 4:
                assert all(torch.equal(*pair) for pair in zip(of_ranks[::2], of_ranks[1::2]))
        elif ".o_proj." in name or ".down_proj." in name:
            assert torch.equal(torch.cat(of_ranks, 1), tensor)
        else:
            rows = torch.cat(of_ranks)
            assert torch.equal(rows[: len(tensor)], tensor)
            assert not rows[len(tensor) :].any()
    one, many = (tmp_path / place / "vision" for place in ("one", "many"))
    for file in ("config.json", "rank0.safetensors"):
        assert (one / file).read_bytes() == (many / file).read_bytes()


def test_one_rank_writes_what_was_written_before(
    models: Callable[..., Path], tmp_path: Path
) -> None:
    convert(models(), tmp_path, "auto")
    assert "tp_size" not in (tmp_path / "llm/config.json").read_text()
    assert sorted(path.name for path in (tmp_path / "llm").iterdir()) == [
        "config.json",
        "rank0.safetensors",
    ]


@pytest.mark.parametrize("vocab_size", [320, 321, 17, 3])
@pytest.mark.parametrize("ranks", [2, 4])
def test_a_vocabulary_is_dealt_out_once_whatever_its_size(vocab_size: int, ranks: int) -> None:
    sizes = split(ranks=ranks, vocab_size=vocab_size)
    ids: list[int] = []
    for rank in range(ranks):
        part = sizes.part("lm_head.weight", rank)
        assert part is not None
        assert part.end - part.begin + part.padding == sizes.vocab_rows
        # What the graph takes for the first id of a rank.
        assert part.begin == min(rank * sizes.vocab_rows, vocab_size)
        ids += range(part.begin, part.end)
    assert ids == list(range(vocab_size))
    assert sizes.vocab_rows % 8 == 0


def test_every_query_head_finds_its_key_head_on_its_rank() -> None:
    for heads, kv_heads, ranks in ((8, 1, 4), (8, 2, 4), (8, 4, 2), (12, 2, 4), (28, 4, 4)):
        sizes = split(ranks=ranks, heads=heads, kv_heads=kv_heads, head_size=1, inner=ranks)
        for rank in range(ranks):
            query = sizes.part("q_proj.weight", rank)
            key = sizes.part("k_proj.weight", rank)
            assert query is not None and key is not None
            share = (query.end - query.begin) // (key.end - key.begin)
            for place, head in enumerate(range(query.begin, query.end)):
                assert key.begin + place // share == head // (heads // kv_heads)


@pytest.mark.parametrize(
    "sizes",
    [{"ranks": 3}, {"ranks": 4, "kv_heads": 3, "heads": 12}, {"ranks": 4, "inner": 50}],
)
def test_what_cannot_be_shared_out_is_refused_with_what_can(sizes: dict[str, int]) -> None:
    with pytest.raises(NativeError) as refused:
        split(**sizes)
    assert refused.value.code == "PAR201"
    fits = int(str(refused.value.fix).split()[-1])
    split(**{**sizes, "ranks": fits})


def test_a_bias_of_columns_is_kept_whole_and_unknown_tensors_are_refused() -> None:
    assert split().part("model.layers.0.self_attn.o_proj.bias", 1) is None
    assert split().part("model.layers.0.self_attn.q_proj.bias", 1) == Part(0, 16, 32)
    with pytest.raises(NativeError, match="nothing says how") as refused:
        split().part("model.layers.0.mlp.experts.3.weight", 0)
    assert refused.value.code == "PAR202"


def test_the_stage_refuses_before_it_writes(
    models: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model-dir", str(models()), "--output-dir", str(tmp_path / "out"), "--tp-size", "3"]
    assert main(flags) == 2
    assert "error[PAR201]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", [Part(0, 600, 1200), Part(1, 2000, 4000), Part(0, 0, 700, 900)])
def test_memory_stays_at_a_few_chunks(tmp_path: Path, part: Part) -> None:
    whole = torch.randn(1200, 4000)
    save_file({"w": whole, "x": whole.half()}, tmp_path / "w.safetensors")
    # Several chunks, so that their borders are met.
    assert whole.nbytes > 2 * CHUNK_BYTES
    stored = read_header(tmp_path / "w.safetensors")
    tracemalloc.start()
    write_tensors(tmp_path / "out.safetensors", [sliced(each, part) for each in stored.values()])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2.5 * CHUNK_BYTES
    found = load_file(tmp_path / "out.safetensors")
    for name, tensor in (("w", whole), ("x", whole.half())):
        kept = tensor.narrow(part.axis, part.begin, part.end - part.begin)
        assert torch.equal(found[name][: len(kept)], kept)
        assert not found[name][len(kept) :].any() and len(found[name]) == len(kept) + part.padding
