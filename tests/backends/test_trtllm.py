"""TensorRT-LLM commands are the README's: same tools, same flags, same values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmtrt.backends.flags import known_versions, problems
from mmtrt.backends.trtllm import is_supported
from mmtrt.errors import PlanError
from mmtrt.plan.build import make_plan
from mmtrt.plan.render import symbolic
from tests.worlds import HOST, recipe


def commands(name: str, **changes) -> dict[str, str]:
    plan = make_plan(recipe(name, backend="trtllm", **changes), HOST)
    return {node.id: " ".join(symbolic(node.command)) for node in plan.active()}


def test_llava_is_the_readmes_section():
    assert commands("llava") == {
        "download": (
            "{python} -m mmtrt.tasks.download --output-dir {out}"
            " --repo-id llava-hf/llava-1.5-7b-hf"
            " --revision b234b804b114d9e37bb655e11cbbb5f5e971b7a9"
            " --include *.json *.safetensors tokenizer.* *.jinja"
        ),
        "convert": (
            "{python} {examples}/models/core/llama/convert_checkpoint.py"
            " --model_dir {in.model} --output_dir {out} --dtype float16"
        ),
        "build_vision": (
            "{python} {examples}/models/core/multimodal/build_multimodal_engine.py"
            " --model_path {in.model} --output_dir {out} --model_type llava --max_batch_size 1"
        ),
        "build_llm": (
            "trtllm-build --checkpoint_dir {in.checkpoint} --output_dir {out}"
            " --gemm_plugin=float16 --use_fused_mlp=enable"
            " --max_batch_size 1 --max_input_len 2048 --max_seq_len 2560 --max_multimodal_len 576"
        ),
        "assemble": (
            "{python} -m mmtrt.tasks.assemble --output-dir {out}"
            " --part llm={in.llm} --part vision={in.vision}"
        ),
        "run": (
            "{python} {examples}/models/core/multimodal/run.py --max_new_tokens 30"
            " --hf_model_dir {in.model} --engine_dir {in.engine}"
            r" --input_text \n Which city is this?"
        ),
    }


def test_llava_next_is_the_readmes_section():
    made = commands("llava_next")
    assert made["build_llm"] == (
        "trtllm-build --checkpoint_dir {in.checkpoint} --output_dir {out}"
        " --gpt_attention_plugin=float16 --gemm_plugin=float16 --use_fused_mlp=enable"
        " --max_batch_size 1 --max_input_len 4096 --max_seq_len 5120 --max_num_tokens 4096"
        " --max_multimodal_len 4096"
    )
    assert made["build_vision"].endswith("--model_type llava_next --max_batch_size 5")


def test_tensor_parallelism_reaches_every_stage_that_has_ranks():
    made = commands("llava_next", tp=2)
    assert made["convert"].endswith("--dtype float16 --tp_size 2")
    assert made["build_llm"].endswith("--workers 2")
    assert "--tp_size" not in made["build_llm"]
    assert made["run"].startswith("mpirun -n 2 {python}")


def test_weight_only_is_a_flag_of_the_conversion():
    made = commands("llava", quant="int4_wo")
    assert made["convert"].endswith("--use_weight_only --weight_only_precision int4")
    assert "quantize" not in made
    assert "--use_fused_mlp" not in made["build_llm"]


def test_awq_starts_from_the_model_and_needs_no_conversion():
    made = commands("llava", quant="int4_awq")
    assert "convert" not in made
    assert made["quantize"] == (
        "{python} {examples}/quantization/quantize.py --model_dir {in.model} --output_dir {out}"
        " --dtype float16 --qformat int4_awq --calib_size 32"
    )


def test_vision_engine_does_not_depend_on_the_quantization():
    plain = make_plan(recipe("llava", backend="trtllm"), HOST)["build_vision"]
    small = make_plan(recipe("llava", backend="trtllm", quant="int4_awq"), HOST)["build_vision"]
    assert plain == small


@pytest.mark.parametrize(
    ("version", "supported"),
    [
        ("0.16.0", True),
        ("1.2.1", True),
        ("1.3.0rc1", True),
        ("1.3.0rc20", True),
        ("1.3.0rc21", False),
        ("1.3.0", False),
        ("2.0.0", False),
        ("nonsense", False),
    ],
)
def test_versions_with_the_engine_flow(version, supported):
    assert is_supported(version) is supported


def test_auto_takes_trtllm_where_it_is_installed():
    host = replace(HOST, versions=HOST.versions | {"tensorrt-llm": "1.2.1"})
    assert make_plan(recipe("llava"), host).choice.backend.name == "trtllm"
    assert make_plan(recipe("llava"), HOST).choice.backend.name == "native"
    assert make_plan(recipe("llava", variant="tiny"), host).choice.backend.name == "native"
    assert make_plan(recipe("llava_next"), HOST).choice.backend.name == "trtllm"


def test_backend_that_the_recipe_lacks_is_refused():
    with pytest.raises(PlanError, match="llava_next has no native backend"):
        make_plan(recipe("llava_next", backend="native"), HOST)


def accepted(**changes) -> list[str]:
    plan = make_plan(recipe(backend="trtllm", **changes), HOST)
    return [p for node in plan.active() for p in problems(symbolic(node.command), "1.2.1")]


@pytest.mark.parametrize("tp", [1, 2])
@pytest.mark.parametrize("quant", ["none", "int8_wo", "int4_wo", "int4_awq"])
@pytest.mark.parametrize(
    ("name", "variant"),
    [("llava", "7b"), ("llava", "13b"), ("llava_next", "mistral_7b"), ("llava_next", "34b")],
)
def test_every_command_is_one_that_the_tools_accept(name, variant, quant, tp):
    assert accepted(name=name, variant=variant, quant=quant, tp=tp) == []


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("--max_output_len 5", "trtllm-build has no flag --max_output_len"),
        ("--tp_size 2", "trtllm-build has no flag --tp_size"),
        ("--max_batch_size four", "trtllm-build --max_batch_size must be a number, not four"),
        ("--max_batch_size", "trtllm-build --max_batch_size needs a value"),
        ("--use_fused_mlp=yes", "trtllm-build --use_fused_mlp must be one of enable, disable"),
    ],
)
def test_words_that_a_tool_refuses(words, problem):
    (found,) = problems(["trtllm-build", *words.split()], "1.2.1")
    assert found.startswith(problem)


def test_versions_without_a_table_are_not_judged():
    assert list(problems(["trtllm-build", "--nonsense"], "9.9.9")) == []
    assert known_versions() == ["1.2"]
