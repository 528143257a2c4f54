"""Flag tables of TensorRT-LLM's tools: what a command may say, and what a wrong one is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mmtrt.backends.flags import (
    TABLES,
    _tables,
    defaults,
    is_known,
    known_versions,
    parse,
    problems,
    tool_of,
)

BUILD = "trtllm-build"
SERVE = "trtllm-serve"
RUN = "models/core/multimodal/run.py"
CONVERT = "models/core/llama/convert_checkpoint.py"
ADVANCED = "llm-api/quickstart_advanced.py"
ENC_DEC = "models/core/enc_dec/convert_checkpoint.py"
COGVLM = "models/contrib/cogvlm/convert_checkpoint.py"


def command(tool: str, words: list[str] | str = "") -> list[str]:
    start = ["python3", f"/opt/examples/{tool}"] if tool.endswith(".py") else [tool]
    return start + (words.split() if isinstance(words, str) else words)


def told(tool: str, words: list[str] | str = "", version: str = "1.2.1") -> list[str]:
    return list(problems(command(tool, words), version))


def tables(version: str) -> dict[str, dict[str, dict[str, Any]]]:
    found = _tables(version)
    assert found is not None
    return found


# Tables


def test_versions_with_tables():
    assert known_versions() == ["1.0", "1.1", "1.2"]
    assert all(is_known(version) for version in ("1.0.0", "1.1", "1.2.0rc2", "1.2.1"))
    assert not any(is_known(version) for version in ("0.16.0", "1.3.0", "1.20", "renamed", ""))


@pytest.mark.parametrize("version", known_versions())
def test_every_table_has_every_tool_and_only_known_words(version):
    words = {"type", "choices", "nargs", "action", "aliases", "default", "required"}
    words |= {"multiple", "positional", "gt", "ge", "lt", "le"}
    assert len(tables(version)) == 17
    for tool, table in tables(version).items():
        spellings = [name for flag, e in table.items() for name in (flag, *e.get("aliases", ()))]
        assert len(spellings) == len(set(spellings)), tool
        for flag, entry in table.items():
            assert entry.keys() <= words, (tool, flag)
            assert flag.startswith("-") or entry["positional"], (tool, flag)
            assert entry.get("type") in (None, "int", "float"), (tool, flag)
            assert entry.get("action") in (None, "store_true"), (tool, flag)
            assert all(len(choice) > 1 or choice in "01" for choice in entry.get("choices", ()))
            assert entry.get("default", 0) is not None, (tool, flag)


@pytest.mark.parametrize("version", known_versions())
def test_every_default_is_one_that_its_own_flag_takes(version):
    for tool, table in tables(version).items():
        for flag, entry in table.items():
            if "default" in entry and "action" not in entry and not entry.get("required"):
                found = told(tool, [flag, str(entry["default"])], version)
                assert [p for p in found if " needs " not in p] == [], (tool, flag)


@pytest.mark.parametrize("version", known_versions())
def test_a_table_says_where_it_comes_from(version):
    document = json.loads((TABLES / f"{version}.json").read_text(encoding="utf-8"))
    assert document["tensorrt_llm"] == version
    assert any(f"documentation of {version}.0" in line for line in document["source"])
    assert "commands" in document or document["based_on"] in known_versions()


def test_a_difference_touches_only_what_its_base_has():
    for version in ("1.0", "1.1"):
        document = json.loads((TABLES / f"{version}.json").read_text(encoding="utf-8"))
        base = tables(document["based_on"])
        for tool, flags in document["removed"].items():
            assert set(flags) <= base[tool].keys()
        for tool, flags in document["changed"].items():
            assert flags.keys() <= base[tool].keys() - set(document["removed"].get(tool, ()))
        for tool, flags in document["added"].items():
            assert not flags.keys() & base[tool].keys()


def test_every_renamed_flag_belongs_to_a_tool_that_has_it_no_more():
    document = json.loads((TABLES / "renamed.json").read_text(encoding="utf-8"))
    for tool, flags in document["flags"].items():
        for flag, fate in flags.items():
            assert flag not in tables("1.2")[tool]
            assert fate.keys() <= {"since", "now"}


def flags_of(tool: str, version: str) -> set[str]:
    table = tables(version)[tool]
    return {name for flag, e in table.items() for name in (flag, *e.get("aliases", ()))}


def test_build_lost_its_automatic_parallelism_in_1_2():
    gone = {"--auto_parallel", "--gpus_per_node", "--cluster_key"}
    assert flags_of(BUILD, "1.1") - flags_of(BUILD, "1.2") == gone
    assert flags_of(BUILD, "1.2") <= flags_of(BUILD, "1.1") == flags_of(BUILD, "1.0")


def test_serve_got_most_of_its_flags_in_1_2():
    assert flags_of(SERVE, "1.0") == flags_of(SERVE, "1.1") < flags_of(SERVE, "1.2")
    assert flags_of(SERVE, "1.2") - flags_of(SERVE, "1.1") == {
        "--chat_template",
        "--config",
        "--context_parallel_size",
        "--cp_size",
        "--custom_module_dirs",
        "--custom_tokenizer",
        "--disagg_cluster_uri",
        "--enable_chunked_prefill",
        "--free_gpu_memory_fraction",
        "--media_io_kwargs",
        "--moe_cluster_parallel_size",
        "--moe_expert_parallel_size",
        "--otlp_traces_endpoint",
        "--pipeline_parallel_size",
        "--revision",
        "--tensor_parallel_size",
        "--tool_parser",
    }


@pytest.mark.parametrize(
    ("version", "backends", "parsers"),
    [
        ("1.0", ["pytorch", "trt"], ["deepseek-r1"]),
        ("1.1", ["pytorch", "tensorrt", "trt", "_autodeploy"], ["deepseek-r1"]),
        ("1.2", ["pytorch", "tensorrt", "trt", "_autodeploy"], ["deepseek-r1", "qwen3", "nano-v3"]),
    ],
)
def test_choices_of_serve_by_version(version, backends, parsers):
    assert tables(version)[SERVE]["--backend"]["choices"] == backends
    assert tables(version)[SERVE]["--reasoning_parser"]["choices"] == parsers


def test_words_that_the_documentation_has_and_older_transcriptions_had_not():
    table = tables("1.2")[BUILD]
    assert table["--log_level"]["choices"][-1] == "trace"
    assert table["--lora_target_modules"]["choices"][-1] == "mlp_gate_up"


def test_defaults():
    build = defaults(BUILD, "1.2.1")
    assert build["--max_batch_size"] == 2048
    assert build["--max_num_tokens"] == 8192
    assert build["--use_fused_mlp"] == "enable"
    assert build["--strip_plan"] is False
    assert "--gemm_plugin" not in build
    assert "--kv_cache_type" not in build
    assert "--gpus_per_node" not in build
    assert defaults(BUILD, "1.1")["--gpus_per_node"] == 8
    assert defaults(RUN, "1.0")["--kv_cache_free_gpu_memory_fraction"] == 0.7
    assert defaults(RUN, "1.0")["--session"] == "cpp_llm_only"
    assert defaults("quantization/quantize.py", "1.2")["--qformat"] == "full_prec"
    assert defaults(BUILD, "0.16.0") == defaults("no-such-tool", "1.2") == {}


# Finding the tool


@pytest.mark.parametrize(
    ("words", "tool"),
    [
        ("trtllm-build --checkpoint_dir x", BUILD),
        ("/usr/local/bin/trtllm-build", BUILD),
        ("{python} {examples}/models/core/multimodal/run.py", RUN),
        ("/usr/bin/python3.12 -u /x/examples/models/core/multimodal/run.py", RUN),
        ("mpirun -n 2 {python} {examples}/models/core/multimodal/run.py", RUN),
        ("mpirun -n 2 --allow-run-as-root python3 /x/models/core/multimodal/run.py", RUN),
        ("trtllm-llmapi-launch trtllm-serve some/model", SERVE),
        ("trtllm-serve serve some/model", SERVE),
        ("trtllm-serve disaggregated -c x.yaml", None),
        ("python3 -m mmtrt.tasks.assemble --part /x/trtllm-build", None),
        ("python3 my_run.py", None),
        ("python3", None),
        ("cp -r x /x/trtllm-build", None),
        ("", None),
    ],
)
def test_tool_of_a_command(words, tool):
    assert tool_of(words.split(), "1.2.1") == tool
    assert tool_of(words.split(), "1.3.0") is None


# What is refused


@pytest.mark.parametrize(
    ("tool", "words", "problem"),
    [
        (BUILD, "--nonsense 5", "has no flag --nonsense"),
        (
            BUILD,
            "--max_bach_size 5",
            "has no flag --max_bach_size; the nearest is --max_batch_size",
        ),
        (
            BUILD,
            "--max_output_len 5",
            "has no flag --max_output_len; since 0.12 it is --max_seq_len (input + output)",
        ),
        (
            BUILD,
            "--tp_size 2",
            "has no flag --tp_size; now it is --tp_size of convert_checkpoint.py or quantize.py",
        ),
        (BUILD, "--auto_parallel 2", "has no flag --auto_parallel; it was removed in 1.2"),
        (BUILD, "--lookup_plugin x", "has no flag --lookup_plugin; it was removed"),
        (RUN, "--use_py_session", "has no flag --use_py_session; now it is --session python"),
        (BUILD, "--max_b 5", "cannot tell --max_b: --max_batch_size or --max_beam_width"),
        (BUILD, "--max_batch_size", "--max_batch_size needs a value"),
        (BUILD, "--use_fused_mlp", "--use_fused_mlp needs a value"),
        (BUILD, "--max_batch_size 1 2", "--max_batch_size takes 1 value, not 2"),
        (COGVLM, "--rotary_scaling a", "--rotary_scaling takes 2 values, not 1"),
        (COGVLM, "--rotary_scaling a b c", "--rotary_scaling takes 2 values, not 3"),
        (BUILD, "--strip_plan yes", "--strip_plan takes no value, not 'yes'"),
        (BUILD, "--strip_plan=yes", "--strip_plan takes no value, not 'yes'"),
        (BUILD, "--use_fused_mlp=yes", "--use_fused_mlp must be one of enable, disable, not yes"),
        (RUN, "--session Python", "--session must be one of python, cpp_llm_only, cpp, not Python"),
        (
            "quantization/quantize.py",
            "--kv_cache_dtype None",
            "--kv_cache_dtype must be one of int8, fp8, not None",
        ),
        (BUILD, "--max_batch_size four", "--max_batch_size must be a number, not four"),
        (BUILD, "--max_batch_size 1.5", "--max_batch_size must be a whole number, not 1.5"),
        (BUILD, "--max_batch_size {in.size}", "--max_batch_size must be a number, not {in.size}"),
        (RUN, "--top_p high", "--top_p must be a number, not high"),
        (RUN, "--image_path=a.png b.png", "--image_path takes 1 value, not 2"),
        (RUN, "stray --top_k 1", "takes no word without a flag, not 'stray'"),
        (RUN, "--top_k 1 -- stray", "takes no word without a flag, not 'stray'"),
        (ADVANCED, "--prompt hello", "needs --model_dir"),
        (SERVE, "", "needs MODEL"),
        (SERVE, "serve --port 1", "needs MODEL"),
        (SERVE, "a --port 8000 b", "takes one MODEL and no other word, not 'b'"),
        (SERVE, "a --por 8000", "has no flag --por; the nearest is --port"),
        (
            SERVE,
            "a --backend TRT",
            "--backend must be one of pytorch, tensorrt, trt, _autodeploy, not TRT",
        ),
    ],
)
def test_words_that_a_tool_refuses(tool, words, problem):
    assert told(tool, words) == [f"{tool.rsplit('/')[-1]} {problem}"]


def test_a_prompt_split_in_two_words_is_refused_where_one_is_taken():
    words = ["--audio_path", "my", "song.wav"]
    assert told(RUN, words) == ["run.py --audio_path takes 1 value, not 2"]


@pytest.mark.parametrize(
    ("version", "words", "problem"),
    [
        ("1.0.0", "x --tool_parser qwen3", "has no flag --tool_parser; it came with 1.2"),
        (
            "1.1.0",
            "x --config c.yaml",
            "has no flag --config; in 1.1 it is --extra_llm_api_options",
        ),
        (
            "1.1.0",
            "x --tensor_parallel_size 2",
            "has no flag --tensor_parallel_size; in 1.1 it is --tp_size",
        ),
        ("1.0.0", "x --backend tensorrt", "--backend must be one of pytorch, trt, not tensorrt"),
        (
            "1.1.0",
            "x --reasoning_parser qwen3",
            "--reasoning_parser must be one of deepseek-r1, not qwen3",
        ),
    ],
)
def test_words_that_only_an_older_version_refuses(version, words, problem):
    assert told(SERVE, words, version) == [f"trtllm-serve {problem}"]
    assert told(SERVE, words, "1.2.1") == []


def test_words_that_only_an_older_version_accepts():
    assert told(BUILD, "--auto_parallel 2 --cluster_key H20", "1.1.0") == []
    words = "--model_dir x --spec_decode_nextn 3"
    assert told(ADVANCED, words, "1.0.0") == told(ADVANCED, words, "1.1.0") == []
    assert told(ADVANCED, words) == [
        "quickstart_advanced.py has no flag --spec_decode_nextn;"
        " now it is --spec_decode_max_draft_len"
    ]


def test_every_problem_of_a_command_is_told():
    assert told(SERVE, "--port x --nonsense 1") == [
        "trtllm-serve --port must be a number, not x",
        "trtllm-serve has no flag --nonsense",
        "trtllm-serve needs MODEL",
    ]


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        (BUILD, []),
        (BUILD, ["--gemm_plugin=auto", "--max_multimodal_len", "576"]),
        (BUILD, ["--max_batch", "4"]),
        (BUILD, ["--checkpoint_dir", "{in.checkpoint}", "--output_dir", "{out}"]),
        (ADVANCED, ["--model_dir", "x", "--moe_ep_size", "-1", "--temperature", ".5"]),
        (RUN, ["--input_text", r"\n Which city?", "- a list", "--video -- what", "--top_k", "1"]),
        (RUN, ["--image_path", "a.png", "b.png", "--multi_block_mode", "anything"]),
        (RUN, ["--log_level="]),
        (CONVERT, ["-sq", "0.5", "--weight_only_precision", "--dtype", "auto"]),
        (ENC_DEC, ["-i", "in", "--output_dir", "out"]),
        (COGVLM, ["--rotary_scaling", "dynamic", "2.0", "-t", "fp16"]),
        (SERVE, ["{in.model}", "--tp_size", "2"]),
        (SERVE, ["--trust_remote_code", "some/model", "--kv_cache_free_gpu_memory_fraction=0.5"]),
        (SERVE, ["serve", "--chat_template", "- {{ text }}", "some/model"]),
        (SERVE, ["--", "some/model"]),
    ],
)
def test_commands_that_a_tool_accepts(tool, words):
    assert told(tool, words) == []


def test_versions_without_a_table_and_other_programs_are_not_judged():
    assert told(BUILD, "--nonsense", "0.16.0") == told(BUILD, "--nonsense", "1.3.0rc1") == []
    assert list(problems(["rm", "--nonsense"], "1.2.1")) == []


# Parsing


def test_parse_names_every_flag_by_its_first_name():
    words = "--max_multimodal_len 576 --gemm_plugin=auto --strip_plan --max_decoder_seq_len 9"
    assert parse(command(BUILD, words), "1.2.1") == {
        "--max_prompt_embedding_table_size": ["576"],
        "--gemm_plugin": ["auto"],
        "--strip_plan": [],
        "--max_seq_len": ["9"],
    }


def test_parse_keeps_each_value_whole():
    words = ["--input_text", "a prompt", "- another", "--image_path", "a=b.png", "--top_k", "-1"]
    prefix = ["mpirun", "-n", "2", "--allow-run-as-root"]
    assert parse(prefix + command(RUN, words), "1.2.1") == {
        "--input_text": ["a prompt", "- another"],
        "--image_path": ["a=b.png"],
        "--top_k": ["-1"],
    }


def test_parse_takes_the_last_of_a_flag_given_twice_unless_it_may_be():
    assert parse(command(BUILD, "--output_dir a --output_dir b"), "1.2") == {"--output_dir": ["b"]}
    words = "--custom_module_dirs a m --custom_module_dirs b"
    found = parse(command(SERVE, words), "1.2")
    assert found == {"MODEL": ["m"], "--custom_module_dirs": ["a", "b"]}


def test_parse_follows_the_version():
    words = command(SERVE, "some/model --tp_size 2")
    assert parse(words, "1.2") == {"MODEL": ["some/model"], "--tensor_parallel_size": ["2"]}
    assert parse(words, "1.1") == {"MODEL": ["some/model"], "--tp_size": ["2"]}


def test_parse_keeps_an_unknown_flag_as_it_is_written():
    assert parse(command(BUILD, "--nonsense 5"), "1.2") == {"--nonsense": ["5"]}


@pytest.mark.parametrize("version", known_versions())
def test_what_is_parsed_can_be_written_again(version):
    for tool, table in tables(version).items():
        wanted: dict[str, list[str]] = {}
        for flag, entry in table.items():
            value = (entry.get("choices") or [str(entry.get("default", 1))])[0]
            count = entry["nargs"] if isinstance(entry.get("nargs"), int) else 1
            wanted[flag] = [] if entry.get("action") else [value] * count
        flags = [f for f in wanted if f.startswith("-")]
        words = [word for flag in flags for word in (flag, *wanted[flag])]
        words = wanted.get("MODEL", []) + words
        assert told(tool, words, version) == []
        assert parse(command(tool, words), version) == wanted


def test_parse_needs_a_tool_that_has_a_table():
    with pytest.raises(ValueError, match=r"not a tool of TensorRT-LLM 1\.2\.1 with a flag table"):
        parse(["ls"], "1.2.1")
    with pytest.raises(ValueError, match=r"not a tool of TensorRT-LLM 0\.16\.0"):
        parse(["trtllm-build"], "0.16.0")
