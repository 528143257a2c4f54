"""TensorRT-LLM commands are the README's: same tools, same flags, same values."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import yaml

from mmtrt.artifacts.keys import flags_of, key_of
from mmtrt.backends.base import In, Out, Side
from mmtrt.backends.flags import known_versions, parse, problems
from mmtrt.backends.trtllm import Trtllm, is_supported
from mmtrt.config.stages import stages_of
from mmtrt.errors import PlanError, RecipeError
from mmtrt.fake.hub import ASKED
from mmtrt.plan.build import make_plan
from mmtrt.plan.keys import key_document
from mmtrt.plan.render import Layout, symbolic
from tests.worlds import HOST, RECIPES, recipe


def commands(name: str, **changes) -> dict[str, str]:
    plan = make_plan(recipe(name, backend="trtllm", **changes), HOST)
    return {node.id: " ".join(symbolic(node.command)) for node in plan.active()}


CACHE = " --input_timing_cache {side}/timing/trtllm-1.2.1.cache --output_timing_cache model.cache"


def test_llava_is_the_readmes_section():
    assert commands("llava") == {
        "examples": (
            "{python} -m mmtrt.tasks.clone --output-dir {out}"
            " --url https://github.com/NVIDIA/TensorRT-LLM.git --revision v1.2.1 --subdir examples"
        ),
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
            " --model_type llava --model_path {in.model} --output_dir {out}"
        ),
        "build_llm": (
            "trtllm-build --checkpoint_dir {in.checkpoint} --output_dir {out}"
            " --gemm_plugin float16 --use_fused_mlp enable"
            " --max_batch_size 1 --max_input_len 2048 --max_seq_len 2560 --max_multimodal_len 576"
            + CACHE
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
        " --gpt_attention_plugin float16 --gemm_plugin float16 --use_fused_mlp enable"
        " --max_batch_size 1 --max_input_len 4096 --max_seq_len 5120 --max_num_tokens 4096"
        " --max_multimodal_len 4096" + CACHE
    )
    assert made["build_vision"].endswith("--output_dir {out} --max_batch_size 5")


def test_tensor_parallelism_reaches_every_stage_that_has_ranks():
    made = commands("llava_next", tp=2)
    assert made["convert"].endswith("--dtype float16 --tp_size 2")
    assert "--workers 2" in made["build_llm"]
    assert "--tp_size" not in made["build_llm"]
    assert made["run"].startswith("mpirun -n 2 {python}")


def test_weight_only_is_a_flag_of_the_conversion():
    made = commands("llava", quant="int4_wo")
    assert made["convert"].endswith("--use_weight_only --weight_only_precision int4")
    assert "quantize" not in made
    assert "--use_fused_mlp" not in made["build_llm"]


def test_numbers_of_ranks_and_formats_win_over_a_recipes_flags():
    spelled = {"tp_size": 4, "use_weight_only": False, "weight_only_precision": "int8"}
    found = flags("llava", "convert", tp=2, quant="int4_wo", recipe__stages__convert__flags=spelled)
    assert found["--tp_size"] == ["2"]
    assert (found["--use_weight_only"], found["--weight_only_precision"]) == ([], ["int4"])


def test_awq_starts_from_the_model_and_needs_no_conversion():
    made = commands("llava", quant="int4_awq")
    assert "convert" not in made
    assert made["quantize"] == (
        "{python} {examples}/quantization/quantize.py --model_dir {in.model} --output_dir {out}"
        " --dtype float16 --qformat int4_awq --calib_size 32"
    )


def words(name: str, stage: str, host=HOST, **changes) -> list[str]:
    node = make_plan(recipe(name, backend="trtllm", **changes), host)[stage]
    assert node.command is not None
    return symbolic(node.command)


def flags(name: str, stage: str, **changes) -> dict[str, list[str]]:
    return parse(words(name, stage, **changes), "1.2.1")


def test_two_engines_of_an_encoder_decoder_model():
    made = commands("blip2", variant="flan_t5_xl")
    assert "--checkpoint_dir {in.checkpoint}/encoder" in made["build_encoder"]
    assert "--max_seq_len" not in made["build_encoder"]
    assert "--checkpoint_dir {in.checkpoint}/decoder" in made["build_decoder"]
    assert (
        "--max_input_len 1 --max_seq_len 1024 --max_encoder_input_len 924"
        in (made["build_decoder"])
    )
    assert (
        "--part llm/encoder={in.llm/encoder} --part llm/decoder={in.llm/decoder}"
        in (made["assemble"])
    )
    assert "build_llm" not in made


def test_parts_of_one_output_are_assembled():
    assert (
        "--part vision={in.vision}/vision --part audio={in.audio}/audio"
        in (commands("phi4_multimodal", workload__image_size=[448, 448])["assemble"])
    )


def test_lora_files_come_from_the_conversion():
    plan = make_plan(recipe("internlm_xcomposer2", backend="trtllm"), HOST)
    convert = plan["convert"].command
    assert convert is not None
    assert convert.cwd == Out()
    assert {"adapter_config.json", "adapter_model.bin"} <= convert.outputs.keys()
    assert "--lora_dir {in.checkpoint}" in " ".join(words("internlm_xcomposer2", "build_llm"))


def test_code_beside_the_model_keeps_its_name():
    made = commands("vila")
    assert made["hf_models"].endswith("--part vila1.5-3b={in.vila1.5-3b} --part VILA={in.VILA}")
    assert "--model_dir {in.model}/vila1.5-3b" in made["convert"]
    assert "--vila_path {in.code}/VILA" in made["build_vision"]


def test_the_tokenizer_of_another_repository_is_what_run_reads():
    plan = make_plan(recipe("cogvlm", backend="trtllm"), HOST)
    assert plan["run"].feeds["model"] == "download_tokenizer"
    assert plan["convert"].feeds["model"] == "patch"
    assert plan["download_tokenizer"].stage.model_name == "vicuna-7b-v1.5"


@pytest.fixture
def nemo(tmp_path):
    """Return the keys of a NeMo recipe, with files that are there."""
    for name in ("nemotron.nemo", "projector.nemo", "video.mp4"):
        (tmp_path / name).write_bytes(b"x")
    return {
        "model__path": str(tmp_path / "nemotron.nemo"),
        "model__projector": str(tmp_path / "projector.nemo"),
        "run__video": str(tmp_path / "video.mp4"),
    }


def test_nemo_files_are_inputs_of_their_own_flag(nemo):
    made = commands("video_neva", **nemo)
    assert "--nemo_ckpt_path {in.model}/model.nemo" in made["convert"]
    assert "--model_path {in.model}/model.nemo" in made["build_vision"]
    assert "--video_path {local.video}/video.mp4" in made["run"]
    plan = make_plan(recipe("video_neva", backend="trtllm", **nemo), HOST)
    assert plan["build_vision"].feeds["model"] == "download_projector"
    assert plan["convert"].stage.model_name == "nemotron"
    renames = flags("neva", "convert", model__path=nemo["model__path"])["--nemo_rename_key"]
    assert len(renames) == 10


def test_missing_nemo_file_is_asked_for():
    with pytest.raises(RecipeError) as caught:
        make_plan(recipe("video_neva", backend="trtllm", model__path="x.nemo"), HOST)
    assert (caught.value.code, caught.value.fix) == ("CFG121", "model.projector=/path/to/projector")


def test_gemma3_has_no_engine():
    made = commands("gemma3")
    assert list(made) == ["examples", "download", "run"]
    assert "llm-api/quickstart_multimodal.py" in made["run"]
    served = commands("gemma3", until="serve", tp=2)
    assert served["serve"].endswith(
        "-- trtllm-serve {in.model} --backend pytorch --tp_size 2 --port 8000 --max_batch_size 4"
        " --extra_llm_api_options {in.options}/extra-llm-api-options.yaml"
    )


def test_memory_for_the_cache_reaches_the_runner_without_engines():
    found = flags("gemma3", "run", run__kv_cache_free_gpu_memory_fraction=0.5)
    assert found["--kv_cache_fraction"] == ["0.5"]


def test_mpirun_is_told_of_root_only_as_root():
    assert words("llava", "run", tp=2)[:3] == ["mpirun", "-n", "2"]
    root = replace(HOST, is_root=True)
    as_root = words("llava", "run", host=root, tp=2, pp=2)
    assert as_root[:4] == ["mpirun", "-n", "4", "--allow-run-as-root"]
    assert key_words("llava", root) == key_words("llava", HOST)


def key_words(name: str, host) -> dict[str, list[str]]:
    plan = make_plan(recipe(name, backend="trtllm", tp=2), host)
    node = plan["run"]
    digests = {place.symbol(): "0" for place in node.command.places()}
    return flags_of(key_document(node, plan.choice, digests)["argv"])


def test_worker_count_and_timing_cache_stay_out_of_the_key():
    plan = make_plan(recipe("llava", backend="trtllm", tp=2), HOST)
    node = plan["build_llm"]
    flags = flags_of(key_document(node, plan.choice, {"{in.checkpoint}": "0"})["argv"])
    assert not {"workers", "input_timing_cache", "output_timing_cache"} & set(flags)
    assert node.command.keeps == {"model.cache": Side("timing/trtllm-1.2.1.cache")}


def test_quantize_takes_what_the_recipe_says_and_the_user_wins():
    found = flags("mllama", "quantize", quant="fp8")
    assert found["--calib_dataset"] == ["scienceqa"]
    assert (found["--kv_cache_dtype"], found["--calib_size"]) == (["fp8"], ["512"])
    assert flags("mllama", "quantize", quant="fp8", quant__calib_size=8)["--calib_size"] == ["8"]
    fp8 = flags("mllama", "build_llm", quant="fp8")
    assert fp8["--use_fp8_context_fmha"] == ["enable"]
    assert "--use_fp8_context_fmha" not in flags("mllama", "build_llm")


def test_eval_is_skipped_without_a_task():
    plan = make_plan(recipe("mllama", backend="trtllm"), HOST)
    assert plan["eval"].skip == "eval.task is not set"
    found = flags("mllama", "eval", eval__task="lmms-lab/ai2d", eval__test_hf=True)
    assert found["--accuracy_threshold"] == ["65"]
    assert found["--model_type"] == ["mllama"]
    assert "--test_trtllm" in found and "--test_hf" in found


def test_offloading_and_chunked_context_reach_the_runner():
    found = flags(
        "llava", "run", run__enable_chunked_context=True, run__mm_embedding_offloading=True
    )
    assert found["--enable_chunked_context"] == []
    assert found["--mm_embedding_offloading"] == ["true"]


def test_environment_of_a_stage_is_its_interpreter():
    plan = make_plan(recipe("qwen2_vl", backend="trtllm"), HOST)
    assert symbolic(plan["convert"].command)[0] == "{in.env}/bin/python"
    assert In("env", "requirements.lock") in plan["convert"].command.places()
    assert "env" in plan["run"].needs and "examples" in plan["run"].needs
    only_old = ["transformers==4.37.2; trtllm <1.0"]
    asked = {"recipe__stages__env__requirements": only_old}
    skipped = make_plan(recipe("internvl2", backend="trtllm", **asked), HOST)
    assert skipped["env"].skip == "for TensorRT-LLM <1.0; 1.2.1 pins its own"
    assert symbolic(skipped["convert"].command)[0] == "{python}"


def test_examples_of_the_machine_are_used_where_there_are_some():
    host = replace(HOST, trtllm_examples="/app/tensorrt_llm/examples")
    plan = make_plan(recipe("llava", backend="trtllm"), host)
    assert "examples" not in [node.id for node in plan.nodes]
    given = make_plan(recipe("llava", backend="trtllm", trtllm__examples_dir="/x"), host)
    command = given["convert"].command
    assert command is not None
    layout = Layout(None, {}, "python")
    assert layout.argv(command)[1] == "/x/models/core/llama/convert_checkpoint.py"


def test_vision_batch_that_the_tool_covers_anyway_is_one_engine():
    one = make_plan(recipe("llava", backend="trtllm"), HOST)["build_vision"]
    four = make_plan(recipe("llava", backend="trtllm", max_batch_size=4), HOST)["build_vision"]
    assert one.command == four.command
    assert flags("llava", "build_vision", max_batch_size=5)["--max_batch_size"] == ["5"]
    stated = flags("llava", "build_vision", vision__max_batch_size=2)
    assert stated["--max_batch_size"] == ["2"]
    keys = []
    for batch in (1, 4, 5):
        plan = make_plan(recipe("llava", backend="trtllm", max_batch_size=batch), HOST)
        node = plan["build_vision"]
        digests = {place.symbol(): "0" for place in node.command.places()}
        keys.append(key_of(key_document(node, plan.choice, digests)))
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(("tp", "pp"), [(1, 1), (2, 1), (2, 2)])
def test_a_build_leases_a_gpu_for_each_rank(tp, pp):
    plan = make_plan(recipe("llava", backend="trtllm", tp=tp, pp=pp), HOST)
    gpus = {name: plan[name].command.resources.gpus for name in ("build_llm", "run")}
    assert gpus == {"build_llm": tp * pp, "run": tp * pp}


def test_a_timing_cache_is_of_one_tensorrt_and_one_kind_of_gpu():
    def cache(tensorrt: str, sm: int) -> Side:
        host = replace(HOST, versions={**HOST.versions, "tensorrt": tensorrt})
        plan = make_plan(recipe("llava", backend="trtllm", target__sm=sm), host)
        return plan["build_llm"].command.keeps["model.cache"]

    kinds = [("10.13.0", 80), ("10.13.0", 90), ("10.14.1", 80), ("10.14.1", 90)]
    assert len({cache(*kind) for kind in kinds}) == 4


def test_flags_that_name_no_input_are_refused():
    base = recipe("llava", backend="trtllm")
    spec = replace(base.stages["build_llm"], flags={"lora_dir": "{in.model}"})
    wrong = replace(base, stages={**base.stages, "build_llm": spec})
    with pytest.raises(PlanError) as caught:
        make_plan(wrong, HOST)
    assert caught.value.code == "CFG126"


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
    with pytest.raises(PlanError, match="vila has no native backend"):
        make_plan(recipe("vila", backend="native"), HOST)


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
    assert "9.9" not in known_versions()


@pytest.mark.parametrize(("kind", "family"), ASKED)
def test_every_name_that_a_tool_asks_the_hub_for_is_an_input_or_may_be_fetched(kind, family):
    given = {"model__path": "/m.nemo", "model__projector": "/p.nemo", "run__video": "/v.mp4"}
    changes = given if family.endswith("neva") else {}
    # A picture of the user's does not keep a runner from fetching its own.
    changes |= {"eval__task": "lmms-lab/VQAv2", "eval__dataset_dir": "/d", "run__image": "/a.png"}
    stages = {}
    for host in (HOST, replace(HOST, trtllm_examples="/examples")):
        resolved = recipe(family, backend="trtllm", **changes)
        backend = Trtllm(resolved, host)
        stages = {stage.id: stage for stage in stages_of(resolved, "tensorrt")}
        (stage,) = [each for each in stages.values() if kind == each.KIND]
        command = backend.lower(stage)
        if command.resources.network:
            continue
        hub = stages[stage.needs["hub"]]
        assert (hub.repo_id, hub.hub_cache) == (ASKED[kind, family], True)
        assert re.fullmatch("[0-9a-f]{40}", hub.revision)
        argv = symbolic(command)
        assert argv[argv.index("env") + 1] == "HF_HUB_CACHE={in.hub}"


def test_no_stage_looks_for_more_in_the_hub_than_is_asked_for():
    for path in (RECIPES / "recipe").glob("*.yaml"):
        file = yaml.safe_load(path.read_text())
        for spec in file["stages"].values():
            if "hub" in spec.get("needs", {}):
                assert (spec["kind"], path.stem) in ASKED
