"""``trtllm-build``: what it adjusts, what it asserts, what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fake.conftest import Workshop

BUILD = "trtllm-build --checkpoint_dir ck --output_dir out"


@pytest.fixture
def checkpoint(workshop: Workshop) -> Workshop:
    """A workshop with a checkpoint of LLaVA for two ranks in `ck`."""
    workshop.build("llava", until=0)
    llama = "python ../llama/convert_checkpoint.py --model_dir tmp/hf_models/llava-1.5-7b-hf"
    workshop.ok(f"{llama} --output_dir ck --dtype float16 --tp_size 2")
    return workshop


def change(**keys: Any) -> None:
    """Change the checkpoint's configuration."""
    path = Path("ck/config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def built() -> dict[str, Any]:
    """Return the limits of the engine."""
    found: dict[str, Any] = json.loads(Path("out/config.json").read_text())["build_config"]
    return found


@pytest.mark.parametrize(
    ("flags", "limits", "message"),
    [
        ("", {"max_seq_len": 4096, "max_batch_size": 2048}, "using deduced value 4096"),
        ("--max_seq_len 512", {"max_input_len": 512}, "clipping it to max_seq_len"),
        ("--max_seq_len 2048 --max_batch_size 2", {"max_num_tokens": 4096}, "specifying to max"),
        ("--max_num_tokens 20000", {"max_num_tokens": 20000}, "usually not recommended"),
        (
            "--max_num_tokens 100 --context_fmha disable",
            {"max_num_tokens": 1024},
            "When not using FMHA",
        ),
        ("--max_seq_len 9000", {"max_seq_len": 9000}, "the model accuracy might be affected"),
        ("--paged_kv_cache disable", {"kv_cache_type": "CONTINUOUS"}, "is deprecated"),
        ("--kv_cache_type continuous", {"kv_cache_type": "CONTINUOUS"}, ""),
        ("--max_prompt_embedding_table_size 7", {"max_prompt_embedding_table_size": 7}, ""),
        ("--max_decoder_seq_len 99", {"max_seq_len": 99}, ""),
    ],
)
def test_limits_are_adjusted(
    checkpoint: Workshop, flags: str, limits: dict[str, Any], message: str
) -> None:
    assert message in checkpoint.ok(f"{BUILD} {flags}")
    assert {name: built()[name] for name in limits} == limits


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--paged_kv_cache enable --kv_cache_type continuous", "contradicts kv_cache_type"),
        ("--gemm_plugin bfloat16", "plugin gemm_plugin of type bfloat16"),
        ("--gpt_attention_plugin bfloat16", "Engine building failed, please check the error log."),
        ("--gemm_plugin fp8", "gemm_plugin fp8 needs FP8 weights"),
        ("--multiple_profiles enable --opt_num_tokens 8", "while opt_num_tokens is set"),
        ("--gather_context_logits --max_draft_len 4", "not support with draft len > 0"),
        ("--pp_reduce_scatter enable", "only supported in the mixtral model"),
        ("--model_cls_file m.py", "AssertionError"),
        ("--max_batch_size 0", "max_batch_size is 0, not above 0"),
        ("--workers 0", "workers is 0, not above 0"),
        ("--max_seq_len 0", "max_seq_len is 0, not above 0"),
        ("--max_encoder_input_len -1", "max_encoder_input_len is -1, not at least 0"),
        ("--opt_num_tokens 4096 --max_num_tokens 2048", "shouldn't be greater than max_num_tokens"),
        ("--max_prompt_embedding_table_size 10 --max_multimodal_len 576", "are one flag"),
        ("--checkpoint_dir nowhere", "No such file or directory: 'nowhere/config.json"),
        ("--lora_plugin float16 --lora_dir .", "'adapter_config.json'"),
        ("--gemm_swiglu_plugin fp8 --use_fused_mlp disable", "requires --use_fused_mlp"),
    ],
)
def test_refusals(checkpoint: Workshop, flags: str, message: str) -> None:
    assert message in checkpoint.refused(f"{BUILD} {flags}")


def test_neither_checkpoint_nor_config(checkpoint: Workshop) -> None:
    said = checkpoint.refused("trtllm-build --output_dir out")
    assert "'NoneType' object has no attribute 'lower'" in said


def test_unknown_architecture(checkpoint: Workshop) -> None:
    change(architecture="Gemma3ForCausalLM")
    assert "Unsupported model architecture: Gemma3ForCausalLM" in checkpoint.refused(BUILD)


def test_one_engine_for_each_rank(checkpoint: Workshop) -> None:
    checkpoint.ok(f"{BUILD} --workers 2")
    assert sorted(p.name for p in Path("out").glob("*.engine")) == ["rank0.engine", "rank1.engine"]
    Path("ck/rank1.safetensors").unlink()
    assert "rank1.safetensors" in checkpoint.refused(BUILD)


def test_each_process_builds_its_own_ranks(checkpoint: Workshop) -> None:
    checkpoint.ranks(2, 1)
    checkpoint.ok(BUILD)
    assert [path.name for path in Path("out").iterdir()] == ["rank1.engine"]


def test_dry_run_writes_no_engine(checkpoint: Workshop) -> None:
    checkpoint.ok(f"{BUILD} --dry_run")
    assert not list(Path("out").glob("*.engine"))


def test_encoder_lengths_are_equal(checkpoint: Workshop) -> None:
    change(architecture="EncoderModel")
    said = checkpoint.refused(f"{BUILD} --max_seq_len 1024 --max_input_len 924")
    assert "EncoderModel should have same --max_input_len (924) and --max_seq_len (1024)." in said
    said = checkpoint.ok(f"{BUILD} --max_input_len 924")
    assert "not specified for EncoderModel" in said and built()["max_seq_len"] == 924
    assert "bert_attention_plugin" in checkpoint.refused(f"{BUILD} --bert_attention_plugin float32")


def test_context_fmha(checkpoint: Workshop) -> None:
    checkpoint.ok(f"{BUILD} --context_fmha disable")
    assert built()["plugin_config"]["use_paged_context_fmha"] == "disable"
    change(quantization={"quant_algo": "FP8", "kv_cache_quant_algo": None})
    said = checkpoint.ok(f"{BUILD} --use_fp8_context_fmha enable")
    assert "needs an FP8 KV cache" in said
    assert built()["plugin_config"]["use_fp8_context_fmha"] == "disable"
    change(quantization={"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"})
    checkpoint.ok(BUILD)
    assert built()["plugin_config"]["use_fp8_context_fmha"] == "enable"
    change(quantization={"quant_algo": None, "kv_cache_quant_algo": "INT8"})
    checkpoint.ok(BUILD)
    assert built()["plugin_config"]["use_paged_context_fmha"] == "disable"


def test_gpus_that_lack_a_format(checkpoint: Workshop) -> None:
    change(quantization={"quant_algo": "W4A16", "kv_cache_quant_algo": None})
    checkpoint.settings(sm=100)
    assert "is not supported on SM 100" in checkpoint.refused(BUILD)
    change(quantization={"quant_algo": "FP8", "kv_cache_quant_algo": None})
    checkpoint.settings(sm=80)
    assert "FP8 is not supported on SM 80" in checkpoint.refused(BUILD)


def test_rope_scaling(checkpoint: Workshop) -> None:
    change(rotary_scaling={"type": "linear", "factor": 2.0})
    assert "scaled to 8192" in checkpoint.ok(BUILD)
    change(rotary_scaling={"rope_type": "llama3", "factor": 8.0})
    checkpoint.ok(BUILD)
    assert built()["max_seq_len"] == 4096


def test_cogvlm_needs_prompt_tuning(workshop: Workshop) -> None:
    lines = workshop.build("cogvlm", until=1)
    workshop.ok(lines[1].replace("--use_prompt_tuning", ""))
    assert "converted without --use_prompt_tuning" in workshop.refused(lines[2])


def test_timing_cache_goes_where_it_is_told(checkpoint: Workshop) -> None:
    checkpoint.ok(f"{BUILD} --output_timing_cache elsewhere/t.cache --input_timing_cache no.cache")
    assert Path("elsewhere/t.cache").is_file() and not Path("model.cache").exists()
