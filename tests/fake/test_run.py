"""``run.py`` and ``eval.py``: what must be there, what fits, what is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.fake.conftest import Workshop, png
from tests.fake.readme import SCENARIOS

URL = "https://example.org/a.png"


def engine_dir(name: str) -> Path:
    """Return the directory that the last command of a scenario reads."""
    words = SCENARIOS[name].lines()[-1].split()
    return Path(words[words.index("--engine_dir") + 1])


def base(name: str) -> str:
    """Return ``run.py`` with engines and model of a scenario, and nothing else."""
    words = SCENARIOS[name].lines()[-1].split()
    hf = words[words.index("--hf_model_dir") + 1]
    return f"python run.py --hf_model_dir {hf} --engine_dir {engine_dir(name)} --max_new_tokens 30"


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("llava", "--batch_size 2", "Input batch size (2) exceeds the engine or specified limit"),
        ("llava", "--batch_size 5", "Could not set shape (5, ...) for tensor input. Please check"),
        ("llava", "--max_new_tokens 2000", "+ maximum new tokens (2000) exceeds the engine"),
        ("llava", "--num_beams 4", "Num beams (4) exceeds the engine or specified limit (1)"),
        ("llava", "--input_text a b", "Expected size 1 but got size 2 for tensor number 2"),
        ("llava", f"--image_path {URL} {URL}", "The expanded size of the tensor (1) must match"),
        ("llava", "--image_path a.png,b.png", "No such file or directory: 'a.png,b.png'"),
        ("llava", f"--image_path {URL},{URL}", "PIL.UnidentifiedImageError"),
        ("llava", f"--image_path {URL} --check_accuracy", "'list' object has no attribute 'split"),
        ("llava_batch", "--batch_size 2 --input_text a", "Expected size 2 but got size 1"),
        ("blip2_opt", "--batch_size 9", "Could not set shape (9, ...)"),
        ("blip2_opt", f"--image_path {URL} {URL}", "Got <class 'list'>"),
        ("blip2_opt", "--max_new_tokens 1000", "exceeds the engine or specified limit (1024)"),
        ("blip2_t5", "--batch_size 9", "Could not set shape (9, ...)"),
        ("blip2_t5", "--max_new_tokens 1024", "Set dimension [1025] for tensor sequence_length"),
        ("blip2_t5", "--num_beams 2", "for tensor cache_indirection"),
        ("nougat", "--max_new_tokens 128", "Set dimension [129] for tensor sequence_length"),
        ("internvl2_2b", f"--image_path {URL}", "'list' object has no attribute 'read'"),
        ("internvl2_2b", "--batch_size 2", "Expected size 2 but got size 1 for tensor number 1"),
        ("qwen2_vl", "--batch_size 2", "IndexError: list index out of range"),
        ("qwen2_vl", f"--image_path {URL}", "No such file or directory: 'https://example.org"),
        ("qwen2_vl", "--batch_size 2 --image_path p.png p.png --input_text a", "IndexError"),
        ("vila", f"--image_path {URL} {URL} {URL} {URL}", "Please check #<image> in prompt"),
        ("vila", f"--batch_size 2 --image_path {URL} --input_text a b", "2 prompts and 1 images"),
        ("phi4_multimodal", "", "AssertionError: phi-4-multimodal needs --audio_path"),
        ("phi4_multimodal", "--audio_path no.wav", "Error opening 'no.wav'"),
        ("phi3_vision", f"--image_path {URL} {URL}", "Got <class 'list'>"),
        ("video_neva", "", "has no attribute 'video_path'"),
        ("video_neva", "--video_path no.mp4", "Error reading no.mp4"),
        ("llava_onevision", "--video_path no.mp4", "av.error.FileNotFoundError"),
        ("llava_onevision", f"--video_path video.mp4 --image_path {URL}", "AssertionError"),
        (
            "llava_onevision",
            "--video_path video.mp4 --video_num_frames 33",
            "Could not set shape (33, ...)",
        ),
        ("llava_onevision", "", "exceeds the engine or specified limit (7228)"),
        ("llava", "--batch_size 0", "batch_size is 0, not above 0"),
        ("llava", "--max_new_tokens 0", "max_new_tokens is 0, not above 0"),
        ("llava", "--max_new_tokens -5", "max_new_tokens is -5, not above 0"),
        ("llava", "--top_p 7", "top_p is 7, not at least 0 and at most 1"),
        ("llava", "--temperature -1", "temperature is -1, not at least 0"),
        ("llava", "--kv_cache_free_gpu_memory_fraction 1.7", "is 1.7, not above 0 and below 1"),
    ],
)
def test_requests_that_do_not_fit(workshop: Workshop, name: str, flags: str, message: str) -> None:
    workshop.build(name)
    png(Path("p.png"))
    assert message in workshop.refused(f"{base(name)} {flags}")


def test_rows_of_the_table_are_dealt_out(workshop: Workshop) -> None:
    scenario = SCENARIOS["llava"]
    workshop.set_up(scenario)
    convert, build, vision, run = scenario.lines()
    workshop.ok(convert)
    workshop.ok(f"{build} --max_batch_size 2")
    workshop.ok(vision)
    said = workshop.refused(run)
    assert "Prompt vocab size576 is larger than max prompt vocab size of 288" in said
    # Python's runner does not deal them out.
    assert workshop.ok(f"{run} --session python")
    assert "for tensor prompt_embedding_table" in workshop.refused(
        f"{base('llava')} --session python --batch_size 2"
    )


def test_prompt_fits_all_lengths(workshop: Workshop) -> None:
    scenario = SCENARIOS["llava"]
    workshop.set_up(scenario)
    convert, build, vision, _ = scenario.lines()
    workshop.ok(convert)
    workshop.ok(vision)
    workshop.ok(f"{build} --max_input_len 577")
    assert "Maximum input length (582) exceeds" in workshop.refused(
        f"{base('llava')} --input_text 'a b c d e f'"
    )
    workshop.ok(f"{build} --max_num_tokens 500")
    assert "exceeds maximum input length (500)" in workshop.refused(base("llava"))
    assert workshop.ok(f"{base('llava')} --enable_chunked_context")
    assert workshop.ok(f"{base('llava')} --session python")


def test_cross_attention_fits(workshop: Workshop) -> None:
    workshop.build("mllama", until=2)
    lines = SCENARIOS["mllama"].lines()
    workshop.ok(lines[2].replace("--max_encoder_input_len 4100", ""))
    assert "Encoder length (4100) exceeds maximum encoder input length (1024)" in workshop.refused(
        lines[3]
    )
    said = workshop.ok(f"{base('mllama')} --input_text 'The key to life is'")
    assert "image_path is None" in said


@pytest.mark.parametrize(
    ("name", "path", "message"),
    [
        ("llava", "vision/config.json", "No such file or directory"),
        ("llava", "vision/model.engine", "vision/model.engine"),
        ("llava", "llm/config.json", "llm/config.json"),
        ("llava", "llm/rank0.engine", "llm/rank0.engine"),
        ("llava_next", "vision/image_newlines.safetensors", "image_newlines.safetensors"),
        ("phi4_multimodal", "audio/config.json", "audio/config.json"),
        ("blip2_t5", "llm/encoder/config.json", "encoder/config.json"),
        ("nougat", "llm/decoder/rank0.engine", "decoder/rank0.engine"),
        ("internlm_xcomposer2", "llm/lora", "no adapter in llm/lora"),
    ],
)
def test_directories_are_as_agreed(workshop: Workshop, name: str, path: str, message: str) -> None:
    lines = workshop.build(name)
    victim = engine_dir(name) / path
    shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
    assert message in workshop.refused(lines[-1])


def test_files_that_no_stand_in_wrote(workshop: Workshop) -> None:
    lines = workshop.build("llava")
    (engine_dir("llava") / "llm/rank0.engine").write_bytes(b"ftrt")
    assert "not a stand-in's engine" in workshop.refused(lines[-1])
    (engine_dir("llava") / "llm/config.json").write_bytes(b"{")
    assert "JSONDecodeError" in workshop.refused(lines[-1])


@pytest.mark.parametrize(
    ("name", "session", "message"),
    [
        ("llava", "cpp", "Using C++ runtime for both visual engine and LLM decoder"),
        ("llava", "python", "Running LLM with Python runner"),
        ("llava_next", "cpp", "C++ end-to-end mode does not support llava_next"),
        ("video_neva", "cpp", "C++ end-to-end mode does not support video-neva"),
        ("internlm_xcomposer2", "cpp", "Using C++ runtime for both"),
        ("qwen2_vl", "python", "Qwen2-vl only support C++ session for now"),
        ("nougat", "cpp", "Running LLM with Python runner"),
    ],
)
def test_sessions(workshop: Workshop, name: str, session: str, message: str) -> None:
    lines = workshop.build(name)
    assert message in workshop.ok(f"{lines[-1]} --session {session}")


def test_chunked_context(workshop: Workshop) -> None:
    _, build, _, run = workshop.build("llava")
    said = workshop.ok(f"{run} --mm_embedding_offloading true")
    assert "mm_embedding_offloading requires enable_chunked_context" in said
    workshop.ok(f"{build} --use_paged_context_fmha disable")
    assert "Chunked context requires context FMHA" in workshop.refused(
        f"{run} --enable_chunked_context"
    )


def test_world_size(workshop: Workshop) -> None:
    convert, build, vision, run = workshop.build("llava", until=0)
    workshop.ok(f"{convert} --tp_size 2")
    workshop.ok(build)
    workshop.ok(vision)
    assert "worldSize is expected to be equal to tp*pp" in workshop.refused(run)
    said = workshop.refused(f"{run} --session python")
    assert "Engine world size (2 * 1) != Runtime world size (1)" in said
    workshop.ranks(2, 1)
    assert "[A]" not in workshop.ok(run)
    workshop.ranks(2, 0)
    assert "[TRT-LLM] [RANK 0] [I] \n[A]: ['singapore']" in workshop.ok(run)


@pytest.mark.parametrize(
    ("name", "hf_dir", "message"),
    [
        ("llava", "nowhere", "Can't load tokenizer for 'nowhere'"),
        ("cogvlm", "tmp/hf_models/cogvlm-chat-hf", "Can't load tokenizer for"),
        ("neva", "tmp/hf_models", "Not found: "),
        ("qwen2_vl", "nowhere", "does not appear to have a file named config.json"),
    ],
)
def test_model_directory(workshop: Workshop, name: str, hf_dir: str, message: str) -> None:
    lines = workshop.build(name)
    assert message in workshop.refused(f"{lines[-1]} --hf_model_dir {hf_dir}")


def test_vila_needs_its_code_beside_the_model(workshop: Workshop) -> None:
    lines = workshop.build("vila")
    shutil.rmtree("tmp/hf_models/VILA")
    assert "No module named 'llava'" in workshop.refused(lines[-1])


def test_llava_next_has_two_prompts(workshop: Workshop) -> None:
    lines = workshop.build("llava_next")
    path = Path("tmp/hf_models/llava-v1.6-mistral-7b-hf/config.json")
    config = json.loads(path.read_text())
    config["text_config"]["_name_or_path"] = "lmsys/vicuna-7b-v1.5"
    path.write_text(json.dumps(config))
    assert "Prompt template for lmsys/vicuna-7b-v1.5" in workshop.refused(lines[-1])


def test_engines_are_tied_to_their_version(workshop: Workshop) -> None:
    lines = workshop.build("llava")
    workshop.settings(version="1.1.0", family="llava", facts=SCENARIOS["llava"].facts)
    assert "is not compatible with this version of TensorRT" in workshop.refused(lines[-1])


def test_features_are_as_wide_as_the_model(workshop: Workshop) -> None:
    lines = workshop.build("llava")
    facts = SCENARIOS["llava"].facts | {"hidden_size": 5120}
    workshop.settings(family="llava", facts=facts)
    assert "width 5120 in a model of hidden size 4096" in workshop.refused(lines[-1])


def test_the_log(workshop: Workshop) -> None:
    workshop.build("llava")
    said = workshop.ok(f"{base('llava')} --check_accuracy --run_profiling")
    stamp = "[01/01/2026-00:00:00] [TRT-LLM] [I] "
    assert f"{stamp}\n[Q] Question: which city is this? Answer:\n{stamp}\n[A]: ['singap" in said
    assert f"{stamp}Latencies per batch (msec)\n{stamp}e2e generation: " in said
    assert f"{stamp}    Vision encoder: " in said
    assert "[I]" not in workshop.ok(f"{base('llava')} --log_level error")


def test_check_of_accuracy_can_fail(workshop: Workshop) -> None:
    workshop.build("llava")
    scenario = SCENARIOS["llava"]
    workshop.settings(family="llava", facts=scenario.facts, answer="paris")
    assert "AssertionError" in workshop.refused(f"{base('llava')} --check_accuracy")


def test_answers_depend_on_pictures_and_texts(workshop: Workshop) -> None:
    lines = workshop.build("llava_batch")
    said = workshop.ok(lines[-1])
    found = [line for line in said.splitlines() if line.startswith("[A]")]
    assert len(set(found)) == 2 and all("fake answer" in line for line in found)
    png(Path("image.png"), 100, 100)
    assert workshop.ok(lines[-1]) != said


EVAL = "python eval.py --model_type llava --engine_dir {e} --hf_model_dir {h} "


def test_eval(workshop: Workshop) -> None:
    workshop.build("llava")
    line = EVAL.format(e=engine_dir("llava"), h="tmp/hf_models/llava-1.5-7b-hf")
    assert "Neither enable test_trtllm nor enable test_hf" in workshop.ok(line)
    said = workshop.ok(f"{line} --test_trtllm --test_hf --accuracy_threshold 40")
    assert "total iterations: 20" in said and "TRT-LLM's accuracy: " in said
    assert (
        "HF's accuracy: " in said
        and workshop.ok(f"{line} --test_trtllm --test_hf --accuracy_threshold 40") == said
    )
    scenario = SCENARIOS["llava"]
    workshop.settings(family="llava", facts=scenario.facts, accuracy=50)
    assert "TRT-LLM's accuracy: 50.00%" in workshop.ok(f"{line} --test_trtllm")
    other = line.replace("--model_type llava", "--model_type mllama")
    assert "a mllama prompt for the engines of a llava" in workshop.refused(
        f"{other} --test_trtllm"
    )
    (workshop.directory / "empty").mkdir()
    assert "any data files" in workshop.refused(f"{line} --test_trtllm --dataset_dir empty")
    said = workshop.refused(f"{line} --test_trtllm --accuracy_threshold 51")
    assert "AssertionError: TRT-LLM's accuracy is below the threshold: 51.0%." in said


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("", "ValueError: Unsupported model_type: None"),
        ("--model_type vila --test_hf", "Unsupported HF model_type: vila"),
        ("--model_type internvl --test_hf", "Unsupported HF model_type: internvl"),
        ("--model_type llava --test_trtllm", "not NoneType (--engine_dir)"),
        ("--model_type llava --dataset_dir no", "no doesn't contain any data files"),
        ("--model_type llava --test_hf --max_ite 0", "max_ite is 0, not above 0"),
    ],
)
def test_eval_refusals(workshop: Workshop, flags: str, message: str) -> None:
    workshop.settings()
    assert message in workshop.refused(f"python eval.py {flags}")
