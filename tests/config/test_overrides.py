from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmtrt.config import keys
from mmtrt.config.grammar import parse
from mmtrt.config.names import nearest
from mmtrt.config.overrides import GROUPS, is_hydra, quoted, shell, split
from mmtrt.config.root import recipes_root

DESIGN = """
recipe variant backend engine workflow quant dtype tp pp session model.path model.projector
model.revision trtllm.version trtllm.examples_dir target.sm target.gpu_memory_gib
workload.batch_size workload.images_per_request workload.image_size workload.video_frames
workload.audio_seconds workload.text_tokens workload.max_new_tokens run.prompt run.image run.video
run.video_frames run.audio run.batch_size run.max_new_tokens run.top_k run.top_p run.temperature
run.repetition_penalty run.enable_chunked_context run.mm_embedding_offloading
run.kv_cache_free_gpu_memory_fraction run.enable_chunked_prefill run.check_accuracy
run.run_profiling eval.task eval.dataset_dir eval.max_ite eval.accuracy_threshold eval.test_trtllm
eval.test_hf until only force executor paths.store paths.remote max_batch_size max_input_len
max_seq_len max_num_tokens max_multimodal_len max_encoder_input_len vision.max_batch_size
"""


def test_keys_that_the_design_promises() -> None:
    assert set(DESIGN.split()) <= keys.flat_keys().keys()


def test_keys_inside_of_a_recipe_are_not_offered() -> None:
    assert not [name for name in keys.flat_keys() if name.startswith("recipe.")]
    assert "quant.name" not in keys.flat_keys()
    assert "quant.calib_size" in keys.flat_keys()


def test_groups_are_directories() -> None:
    for group in GROUPS:
        assert (recipes_root() / group).is_dir()


def test_table_knows_kinds_choices_and_defaults() -> None:
    table = keys.flat_keys()
    assert table["tp"] == keys.FlatKey("tp", "a whole number", (), 1)
    assert table["dtype"].choices == ("auto", "float32", "float16", "bfloat16")
    assert table["eval.test_hf"].choices == ("true", "false")
    assert table["run.image"].kind == "text or a list"


@pytest.mark.parametrize(
    ("key", "ok"),
    [
        ("tp", True),
        ("run.image", True),
        ("run.image.0", True),
        ("run.image.x", False),
        ("recipe.variants.any.facts.patch_size", True),
        ("recipe.variants.any.fact.patch_size", False),
        ("recipe.run.what.ever", True),
        ("recipe.stages.x.edits.0.file", True),
        ("tp.x", False),
        ("", False),
        ("run.", False),
        (".tp", False),
    ],
)
def test_check(key: str, ok: bool) -> None:
    assert keys.check(key.split(".")).ok is ok


def test_check_tells_where_it_went_wrong() -> None:
    found = keys.check(["recipe", "variants", "7b", "fact"])
    assert found.known == ("recipe", "variants", "7b")
    assert "facts" in found.choices
    assert found.free == (2,)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("tpp", "tp"),
        ("bakend", "backend"),
        ("TP", "tp"),
        ("top_k", "run.top_k"),
        ("images_per_request", "workload.images_per_request"),
        ("run.max_new_token", "run.max_new_tokens"),
        ("model.rev", "model.revision"),
        ("max_multimodal_length", "max_multimodal_len"),
        ("max_batchsize", "max_batch_size"),
        ("promt", "run.prompt"),
    ],
)
def test_nearest(wrong: str, right: str) -> None:
    assert nearest(wrong, keys.flat_keys())[0] == right


def test_nothing_is_near() -> None:
    assert nearest("zzzzzz", keys.flat_keys()) == []


def test_split() -> None:
    found = split(
        [
            *(
                "plan",
                "recipe=llava",
                "--json",
                "-cd",
                "a",
                "-cd=b",
                "--config-dir",
                "c",
                "-cn",
                "x",
            ),
            *(
                "--cfg",
                "job",
                "-p=run",
                "-i",
                "defaults",
                "tp=2",
                "-m",
                "~quant",
                "+a=1",
                "-o",
                "y",
            ),
            *("--", "-z=1"),
        ]
    )
    assert found.overrides == ["recipe=llava", "tp=2", "~quant", "+a=1", "-z=1"]
    assert found.config_dirs == ["a", "b", "c"]
    assert found.config_name == "x"
    assert found.hydra == ["--cfg=job", "--package=run", "--info=defaults", "--multirun"]
    assert found.rest == ["plan", "--json", "-o", "y"]
    assert found.switch("--cfg") == "job"
    assert found.switch("--multirun") == ""
    assert found.switch("--resolve") is None


def test_info_takes_no_override_for_its_value() -> None:
    found = split(["--info", "recipe=llava"])
    assert (found.hydra, found.overrides) == (["--info"], ["recipe=llava"])


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("hydra/launcher=joblib", True),
        ("+hydra.verbose=true", True),
        ("~hydra/output", True),
        ("hydrate=1", False),
        ("run.hydra=1", False),
    ],
)
def test_is_hydra(override: str, expected: bool) -> None:
    assert is_hydra(override) is expected


@given(st.text(alphabet=st.characters(exclude_characters="$", exclude_categories=["Cs", "Cc"])))
def test_quoted_text_survives_hydra(text: str) -> None:
    parsed, problems = parse([f"session={quoted(text)}"])
    assert problems == []
    assert parsed[0].value == text


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_shell_words_survive_a_shell(text: str) -> None:
    if text:
        assert shlex.split(shell(text)) == [text]


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("rec", ["recipe="]),
        ("workload.im", ["workload.image_size=", "workload.images_per_request="]),
        ("work", ["workflow=", "workload."]),
        ("dtype=fl", ["dtype=float16", "dtype=float32"]),
        ("quant=", ["quant=int8_wo", "quant=none"]),
        ("eval.test_hf=t", ["eval.test_hf=true"]),
        ("quant", ["quant.", "quant="]),
        ("nope", []),
        ("nope=", []),
    ],
)
def test_complete(word: str, found: list[str]) -> None:
    assert keys.complete(word, {"quant": ["none", "int8_wo"]}) == found
