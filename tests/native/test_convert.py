from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import load_file, save_file  # noqa: E402 - needs torch

from mmtrt.native.component import read_component  # noqa: E402
from mmtrt.native.convert import main  # noqa: E402
from tests.native import tiny_llava  # noqa: E402
from tests.native.conftest import ROOT  # noqa: E402


def convert(model: Path, output: Path, *flags: str) -> dict[str, dict[str, Any]]:
    assert main(["--model-dir", str(model), "--output-dir", str(output), *flags]) == 0
    return {name: load_file(output / name / "rank0.safetensors") for name in ("llm", "vision")}


def parts_of(model: Any) -> dict[str, dict[str, Any]]:
    """Return the weights of a torch model by component, straight from its modules."""
    state = model.state_dict()
    if model.config.tie_word_embeddings:
        del state["lm_head.weight"]
    of_llm = ("model.language_model.", "lm_head.")
    return {
        "llm": {name: value for name, value in state.items() if name.startswith(of_llm)},
        "vision": {name: value for name, value in state.items() if not name.startswith(of_llm)},
    }


def assert_equal(found: dict[str, dict[str, Any]], wanted: dict[str, dict[str, Any]]) -> None:
    for component, tensors in wanted.items():
        assert found[component].keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert torch.equal(found[component][name], tensor), name


def rename_keys(model: Path, rules: Iterable[tuple[str, str]], **extra: Any) -> None:
    """Rewrite a model's weights under other names."""
    tensors = load_file(model / "model.safetensors")
    renamed = {}
    for name, tensor in tensors.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    save_file({**renamed, **extra}, model / "model.safetensors")


PUBLISHED = [(r"^vision_tower\.", "vision_tower.vision_model.")]
SINCE_4_52 = [
    *PUBLISHED,
    (r"^language_model\.lm_head", "lm_head"),
    (r"^language_model\.model\.", "model.language_model."),
    (r"^(vision_tower|multi_modal_projector)", r"model.\1"),
]


@pytest.mark.parametrize("layout", [[], PUBLISHED, SINCE_4_52], ids=["v5", "published", "4.52"])
def test_every_key_layout_gives_the_original_tensors(tmp_path: Path, layout: list) -> None:
    model = tiny_llava.make_model(tmp_path / "m")
    ids = torch.arange(10)
    position_ids = "vision_tower.vision_model.embeddings.position_ids"
    rename_keys(tmp_path / "m", layout, **({position_ids: ids} if layout == PUBLISHED else {}))
    assert_equal(convert(tmp_path / "m", tmp_path / "c"), parts_of(model))


def test_shards_and_a_tied_head(tmp_path: Path) -> None:
    model = tiny_llava.make_model(tmp_path / "m", tied=True, max_shard_size="40KB")
    assert len(list((tmp_path / "m").glob("*.safetensors"))) > 3
    found = convert(tmp_path / "m", tmp_path / "c")
    assert "lm_head.weight" not in found["llm"]
    assert_equal(found, parts_of(model))
    assert read_component(tmp_path / "c/llm", "llm").tie_word_embeddings


@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("wanted", ["auto", "float32", "float16", "bfloat16"])
def test_casts_equal_torch(tmp_path: Path, tiny_model: Path, stored: str, wanted: str) -> None:
    model = tmp_path / "m"
    shutil.copytree(tiny_model, model)
    tensors = {
        name: value.to(getattr(torch, stored))
        for name, value in load_file(model / "model.safetensors").items()
    }
    some = tensors["multi_modal_projector.linear_1.bias"]
    some[:4] = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e-7])
    save_file(tensors, model / "model.safetensors")
    found = convert(model, tmp_path / "c", "--dtype", wanted)
    dtype = stored if wanted == "auto" else wanted
    for component in found:
        assert read_component(tmp_path / "c" / component, component).dtype == dtype
    cast = {**found["vision"], **found["llm"]}
    for name, value in tensors.items():
        part, _, rest = name.removeprefix("language_model.").partition(".")
        part = "language_model" if part == "model" else part
        got = cast[
            name.removeprefix("language_model.") if part == "lm_head" else f"model.{part}.{rest}"
        ]
        assert got.dtype == getattr(torch, dtype)
        torch.testing.assert_close(
            got, value.to(got.dtype), rtol=0, atol=0, equal_nan=True, msg=name
        )


def test_values_that_float16_cannot_hold_are_refused(
    tmp_path: Path, tiny_model: Path, refused: Callable[..., str]
) -> None:
    shutil.copytree(tiny_model, tmp_path / "m")
    tensors = load_file(tmp_path / "m/model.safetensors")
    tensors["language_model.model.norm.weight"][0] = 1e5
    save_file(tensors, tmp_path / "m/model.safetensors")
    flags = ("--model-dir", tmp_path / "m", "--output-dir", tmp_path / "c", "--dtype", "float16")
    message = refused(main, *flags)
    assert "error[MDL206]: language_model.model.norm.weight holds values" in message


def _edit(**changes: Any) -> Callable[[Path], None]:
    def edit(model: Path) -> None:
        path = model / "config.json"
        config = json.loads(path.read_text())
        for key, value in changes.items():
            part, _, inner = key.partition("__")
            target, name = (config[part], inner) if inner else (config, part)
            target[name] = value
        path.write_text(json.dumps(config))

    return edit


def _only_pickled(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")


def _lose_tensor(model: Path) -> None:
    tensors = load_file(model / "model.safetensors")
    del tensors["language_model.model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, model / "model.safetensors")


def _cut_short(model: Path) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def _lose_shard(model: Path) -> None:
    shard = "model-00001-of-00002.safetensors"
    index = {"weight_map": {"lm_head.weight": shard}}
    (model / "model.safetensors").unlink()
    (model / "model.safetensors.index.json").write_text(json.dumps(index))


def _lead_outside(model: Path) -> None:
    index = {"weight_map": {"lm_head.weight": "../model.safetensors"}}
    (model / "model.safetensors").unlink()
    (model / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, "error[MDL201]: "),
        (lambda model: (model / "config.json").unlink(), "error[MDL201]: "),
        (lambda model: (model / "config.json").write_text("{"), "config.json: not JSON"),
        (_edit(model_type="otter"), "error[MDL202]: the native toolchain has no family for"),
        (_edit(text_config__model_type="phi"), "error[MDL208]: text_config.model_type 'phi'"),
        (_edit(vision_config__model_type="x"), "error[MDL209]: transformers refuses"),
        (_edit(vision_config__model_type="pixtral"), "error[MDL208]: vision_config.model_type"),
        (_edit(text_config__num_hidden_layers=3), "error[MDL204]: "),
        (_edit(text_config__vocab_size=7), "error[MDL204]: "),
        (_edit(image_token_index=None), "error[MDL209]: "),
        (_only_pickled, "error[MDL203]: "),
        (lambda model: (model / "model.safetensors").unlink(), "error[MDL203]: "),
        (_lose_tensor, "the weights lack model.language_model.layers.1.mlp.up_proj.weight\n"),
        (lambda model: rename_keys(model, [("^multi", "x_multi")]), "error[MDL207]: x_multi_modal"),
        (
            lambda model: rename_keys(model, [("1.mlp.up_proj", "1.mlp.other")]),
            "error[MDL207]: language_model.model.layers.1.mlp.other.weight",
        ),
        (_cut_short, "error[MDL205]: "),
        (_lose_shard, "the weight shard model-00001-of-00002.safetensors is missing"),
        (_lead_outside, "the weight shard ../model.safetensors is missing"),
    ],
)
def test_a_model_that_cannot_be_converted_is_refused(
    tiny_model: Path,
    tmp_path: Path,
    refused: Callable[..., str],
    spoil: Callable[[Path], Any],
    message: str,
) -> None:
    model = tmp_path / "m"
    shutil.copytree(tiny_model, model)
    spoil(model)
    err = refused(main, "--model-dir", model, "--output-dir", tmp_path / "c")
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "c/llm/config.json").exists()


def test_a_linked_output_is_replaced_not_written_into(tiny_model: Path, tmp_path: Path) -> None:
    convert(tiny_model, tmp_path / "c")
    kept = tmp_path / "kept.safetensors"
    kept.hardlink_to(tmp_path / "c/llm/rank0.safetensors")
    before = kept.read_bytes()
    convert(tiny_model, tmp_path / "c", "--dtype", "float16")
    assert kept.read_bytes() == before


# A small model first: what is imported for it stays. VmHWM and not ru_maxrss: it can be reset.
PEAK_OF_CONVERT = """
import sys
from mmtrt.native.convert import main
def kilobytes(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
main(["--model-dir", sys.argv[1], "--output-dir", sys.argv[2]])
open("/proc/self/clear_refs", "w").write("5")
before = kilobytes("VmRSS")
status = main(sys.argv[3:])
print(kilobytes("VmHWM") - before)
raise SystemExit(status)
"""

# The chunks that are copied, and room for the allocator; *measured* 12 and 37 MiB.
OVERHEAD_BYTES = 64 << 20


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("layers", "hidden"),
    [(10, 1024), pytest.param(25, 2048, marks=pytest.mark.slow)],
    ids=["400MB", "4GB"],
)
@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
def test_memory_does_not_grow_with_the_model(
    tmp_path: Path, tiny_model: Path, layers: int, hidden: int, dtype: str
) -> None:
    """A checkpoint of many gigabytes must fit on a small host: peak memory is bounded."""
    model = tmp_path / "m"
    size_bytes, largest_bytes = tiny_llava.make_sparse_model(model, layers, hidden)
    assert size_bytes > (350 << 20)
    argv = ["--model-dir", model, "--output-dir", tmp_path / "c", "--dtype", dtype]
    done = subprocess.run(
        [sys.executable, "-c", PEAK_OF_CONVERT, tiny_model, tmp_path / "s", *map(str, argv)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    shutil.rmtree(tmp_path / "c")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) * 1024 < largest_bytes + OVERHEAD_BYTES
