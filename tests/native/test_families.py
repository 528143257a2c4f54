"""The one contract of every family and engine format: engines answer as transformers does.

By default each family's graphs run as PyTorch modules (``eager``), which leaves only the exporter
and its runtime out; of a checkpoint in the layout of its publisher (``published``), where what
engines do is looked at. ``make test-all`` and ``make matrix`` build the real engines.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmtrt.backends.native import Native
from mmtrt.native.families import family_of
from tests.native.conftest import ROOT, finish, start_stage
from tests.native.eager import eager_engines
from tests.native.families import CASES, MAX_BATCH, NEW_TOKENS, Built
from tests.native.published import flatten, leave_a_stale_file
from tests.native.test_determinism import files_of
from tests.native.tiny_llava import make_image

TOLERANCE = 1e-4
REAL = ("onnxruntime", "aot_inductor")
SM = 89


def ids(param: Any) -> str:
    return "-".join(param)


def made_for(*engines: str) -> Any:
    """Parametrize ``built``: every family in some engine formats; real ones take their time."""
    params = [
        pytest.param((name, engine), marks=pytest.mark.slow if engine in REAL else ())
        for name in CASES
        for engine in engines
    ]
    return pytest.mark.parametrize("built", params, indirect=True, ids=ids)


@pytest.fixture(scope="module")
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Build a family once; pytest runs all of its tests before the next family's."""
    pytest.importorskip("transformers")
    name, engine = request.param
    published, engine = engine == "published", "eager" if engine == "published" else engine
    with eager_engines() if engine == "eager" else nullcontext():
        yield Built(CASES[name], tmp_path_factory.mktemp(name), engine, published=published)


every = made_for("published", *REAL)
"""Of tests that look at what engines do."""
once = made_for("eager")
"""Of tests that look at the family alone."""


def assert_equal(
    built: Built, texts: Sequence[str], pictures: Sequence[Sequence[str]], **settings: Any
) -> None:
    """Compare every token exactly and the logits of every step closely."""
    answers = built.answer(texts, pictures)
    tokens, logits = built.expected(texts, pictures, **settings)
    eos = built.session.engines.llm.special_tokens.eos
    ours = np.stack(answers.generation.logits)
    worst = 0.0
    for row, answer in enumerate(answers.answers):
        assert answer.token_ids == tokens[row]
        count = len(answer.token_ids)
        assert answer.finish_reason == ("eos" if answer.token_ids[-1] in eos else "length")
        worst = max(worst, float(np.abs(ours[:count, row] - logits[row]).max()))
        said = built.reference.processor.tokenizer.batch_decode(
            [tokens[row]], skip_special_tokens=True
        )
        assert answer.text == said[0].strip()
    assert worst < TOLERANCE
    built.worst = max(getattr(built, "worst", 0.0), worst)


@every
@pytest.mark.cell("exact")
@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.slow), 2, MAX_BATCH])
def test_answers_equal_transformers(built: Built, batch: int) -> None:
    """Prompts and pictures of different sizes; padding must change nothing."""
    pictures = [[path] for path in built.pictures[:batch]]
    assert_equal(built, built.case.texts[:batch], pictures)


@every
@pytest.mark.cell("exact")
def test_two_pictures_in_one_request(built: Built) -> None:
    if not built.case.several:
        pytest.skip("this family takes one picture")
    assert_equal(built, built.case.texts[:2], [built.pictures[:2], built.pictures[1:]])


@every
@pytest.mark.cell("exact")
def test_texts_alone(built: Built) -> None:
    if not built.case.text_only:
        pytest.skip("this family needs a picture")
    assert_equal(built, built.case.texts[:2], [[], []])


@every
@pytest.mark.cell("exact")
def test_an_answer_of_one_token(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any of several end tokens ends an answer, its very first one too."""
    texts, pictures = built.case.texts[:2], [[path] for path in built.pictures[:2]]
    engines = built.session.engines
    first = built.answer(texts, pictures).answers[0].token_ids[0]
    ends = (*engines.llm.special_tokens.eos, first)
    special = replace(engines.llm.special_tokens, eos=ends)
    monkeypatch.setattr(engines, "llm", replace(engines.llm, special_tokens=special))
    if built.engine == "aot_inductor":
        packages = engines._packages
        monkeypatch.setattr(packages, "config", replace(packages.config, special_tokens=special))
    assert len(built.answer(texts, pictures).answers[0].token_ids) == 1
    assert_equal(built, texts, pictures, eos_token_id=list(ends))


@once
@pytest.mark.parametrize("layout", ["base", "instruct", "flat", "stale"])
def test_requests_are_read_as_by_transformers(built: Built, layout: str, tmp_path: Path) -> None:
    """Ids and pixels, from every layout of a model's files; prompts of both and the user's own."""
    from PIL import Image

    model = tmp_path / "m"
    shutil.copytree(built.plain_dir if layout == "base" else built.model_dir, model)
    is_phi4 = built.case.model == "phi4_multimodal"
    if layout in ("flat", "stale"):
        if is_phi4:
            pytest.skip("this model has no settings of pictures")
        (flatten if layout == "flat" else leave_a_stale_file)(model)
    llm, vision = built.session.engines.llm, built.session.engines.vision
    frontend = family_of(llm.family).frontend(model, llm, vision)
    reference = built.reference_of(model)
    images = [Image.open(path) for path in built.pictures]
    most = 2 if built.case.several else 1
    for count in range(0 if built.case.text_only else 1, most + 1):
        shown = images[:count]
        expected = reference.inputs(built.case.texts[:1], [shown])
        found = frontend.process(frontend.prompt(built.case.texts[0], count), shown)
        assert_same_inputs(found, expected)
    if frontend.placeholder and not is_phi4:
        own = f"{frontend.placeholder} {built.case.texts[1]}"
        expected = reference.processor(text=[own], images=[images[:1]], return_tensors="pt")
        assert_same_inputs(frontend.process(frontend.prompt(own, 1), images[:1]), expected)


def assert_same_inputs(found: Any, expected: Any) -> None:
    """Compare what a model is given; some arrays are of no use to engines."""
    assert {"input_ids", "pixel_values", "flattened_patches"} & found.keys()
    for name in found.keys() & expected.keys():
        np.testing.assert_array_equal(np.asarray(found[name]), np.asarray(expected[name]), name)


@once
@pytest.mark.parametrize("most", [2, pytest.param(None, marks=pytest.mark.slow)])
@pytest.mark.parametrize("images", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_planners_sizes_are_what_is_inserted(
    built: Built, images: int, most: int | None, tmp_path: Path
) -> None:
    """Rows, share of the vision engine and states, for the picture sizes of the case."""
    from mmtrt.api import load_recipe

    case = built.case
    if images > 1 and not case.several:
        pytest.skip("this family takes one picture")
    for number, (width, height) in enumerate(case.seen[:most]):
        size = f"workload.image_size=[{height},{width}]"
        several = f"workload.images_per_request={images}"
        sizing = load_recipe(
            case.recipe or case.model, [f"variant={case.variant}", size, several]
        ).sizing
        picture = str(make_image(tmp_path / "p.png", seed=number, size=(width, height)))
        prompts = built.session.prompts(["what?"], images=images)
        prepared = built.session.prepare(prompts, [[picture] * images])
        request = built.session.engines.size_of(prepared.prompts, new_tokens=1, images=0)
        assert request.visual_features == sizing.features_per_request, (width, height)
        assert prepared.vision_items == sizing.vision_batch(1), (width, height)
        if sizing.visual_input == "cross_attention":
            assert prepared.encoder_len == sizing.encoder_tokens_per_request


@every
@pytest.mark.cell("run")
def test_every_limit_holds_as_stated_and_refuses_one_more(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request fits limits that are just what it needs; each is then lowered by one."""
    from mmtrt.native.errors import NativeError
    from mmtrt.native.limits import START_TOKENS

    session, engines = built.session, built.session.engines
    pictures, texts = [[path] for path in built.pictures[:2]], built.case.texts[:2]
    prepared = session.prepare(session.prompts(texts, images=1), pictures)
    apart = engines.llm.component == "decoder"
    size = engines.size_of(
        prepared.prompts,
        new_tokens=2,
        images=prepared.vision_items,
        encoder_len=prepared.encoder_len,
        start_len=START_TOKENS if apart else None,
    )
    stated, length = engines.limits.to_json(), size.input_len
    needs = {"max_batch_size": ("RUN201", 2), "vision": ("RUN202", size.images)}
    if not apart or engines.encoder is not None:
        needs["max_input_len"] = ("RUN203", length)
        needs["max_num_tokens"] = ("RUN205", 2 * length)
    if size.visual_features:
        needs["max_multimodal_len"] = ("RUN206", 2 * size.visual_features)
    if size.encoder_len and stated.get("max_encoder_input_len"):
        needs["max_encoder_input_len"] = ("RUN207", size.encoder_len)

    def ask(**limits: int) -> None:
        least = {name: limit for name, limit in limits.items() if name != "vision"}
        monkeypatch.setattr(engines, "limits", replace(engines.limits, **least))
        monkeypatch.setattr(engines, "vision_max_batch_size", limits["vision"])
        session.answer(texts, pictures, max_new_tokens=2)

    fitting = {name: limit for name, (_, limit) in needs.items()}
    ask(**fitting)
    for name, (code, limit) in needs.items():
        with pytest.raises(NativeError) as caught:
            ask(**{**fitting, name: limit - 1})
        assert code in {error.code for error in (caught.value, *caught.value.also)}, name
        assert str(limit) in caught.value.render()
    longest = 1 if apart else length
    with pytest.raises(NativeError, match="RUN204"):
        session.answer(texts, pictures, max_new_tokens=stated["max_seq_len"] - longest + 1)


@every
@pytest.mark.cell("build")
def test_engine_directories_say_what_is_in_them(built: Built) -> None:
    """Names, sides and limits by which any runtime can call the engines."""
    places = {"vision": built.engines / "vision", "llm": built.engines / "llm"}
    for part in ("encoder", "decoder"):
        if (built.engines / "llm" / part).is_dir():
            places.pop("llm", None)
            places[part] = built.engines / "llm" / part
    assert {path.name for path in (built.engines / "llm").iterdir()} or "llm" in places
    for name, place in places.items():
        document = json.loads((place / "config.json").read_text())
        config, limits = document, document["limits"]
        assert config["schema"] == 1 and config["component"] == name
        assert all((place / file).is_file() for file in config["files"])
        assert not [text for text in _texts(document) if text.startswith("/")]
        if name == "vision":
            assert limits == {"max_batch_size": MAX_BATCH * built.case.tiles}
        else:
            assert limits["max_batch_size"] == MAX_BATCH
        if config["engine"] == "aot_inductor":
            continue  # its packages take what aot.json says
        inputs = {spec["name"]: spec for spec in config["inputs"]}
        outputs = [spec["name"] for spec in config["outputs"]]
        if name == "vision":
            assert "features" in outputs
            continue
        assert inputs["ids"]["shape"] == ["batch", "tokens"]
        if name == "encoder":
            assert outputs == ["states"]
            continue
        caches = [each for each in inputs if each.startswith(("keys_", "values_"))]
        assert caches and outputs == ["logits", *(f"{each}_out" for each in caches)]
        for each in caches:
            assert inputs[each]["shape"][::2] == ["batch", limits["max_seq_len"]]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value


@every
@pytest.mark.cell("run")
def test_the_run_stage_writes_the_result(built: Built, tmp_path: Path) -> None:
    from mmtrt.native import run

    texts, pictures = built.case.texts[:2], built.pictures[:2]
    flags: list[object] = ["--engine-dir", built.engines, "--model-dir", built.model_dir]
    flags += ["--output-dir", tmp_path, "--max-new-tokens", NEW_TOKENS]
    built.stage(run, *flags, "--input-text", *texts, "--image-path", *pictures)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result.keys() == {"schema", "requests", "timings"} and result["schema"] == 1
    assert {"vision_ms", "prefill_ms", "decode_ms_per_token"} <= result["timings"].keys()
    answers = built.answer(texts, [[path] for path in pictures]).answers
    for request, text, path, answer in zip(result["requests"], texts, pictures, answers):
        assert request["prompt"] == text and request["images"] == [Path(path).name]
        assert (request["text"], request["token_ids"]) == (answer.text, answer.token_ids)


@every
@pytest.mark.cell("eval")
def test_an_evaluation_finds_what_transformers_finds(built: Built, tmp_path: Path) -> None:
    """Padded batches here, single requests there: every token must be the same."""
    pytest.importorskip("pyarrow")
    from mmtrt.native import evaluate
    from mmtrt.native.make_questions import make_questions

    count = 4 if built.engine == "eager" else 10
    make_questions("lmms-lab/MME", tmp_path / "data", count=count, seed=0)
    flags: list[object] = ["--engine-dir", built.engines, "--model-dir", built.model_dir]
    flags += ["--dataset-dir", tmp_path / "data", "--output-dir", tmp_path, "--test-hf"]
    flags += ["--task", "lmms-lab/MME", "--max-ite", count]
    flags += ["--batch-size", 1 if built.case.padding_shows else 2]
    built.stage(evaluate, *flags, "--max-new-tokens", 6)
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["samples"] == scores["same_answers"] == count
    assert scores["accuracy"] == scores["baseline"]
    assert scores["accuracy"] == (100 if built.case.asset else 0)


@once
def test_the_recipes_facts_are_the_models(built: Built) -> None:
    """What the YAML states of the tiny variant equals what was made."""
    from mmtrt.api import load_recipe
    from mmtrt.native.safetensors_file import read_header

    case = built.case
    recipe = load_recipe(case.recipe or case.model, [f"variant={case.variant}"])
    facts = recipe.variant.facts
    if case.asset is None:
        assert recipe.variant.generate.model in (None, case.model)
    tensors = read_header(built.model_dir / "model.safetensors").values()
    count = sum(prod(tensor.shape) for tensor in tensors)
    # What ships is counted from its own file.
    assert facts.parameters in ([count] if case.asset is None else [None, count])
    text = built.reference.model.config.get_text_config(decoder=True)
    names = {
        "hidden_size": ("hidden_size",),
        "vocab_size": ("vocab_size",),
        "num_hidden_layers": ("decoder_layers", "num_hidden_layers"),
        "num_attention_heads": ("decoder_attention_heads", "num_attention_heads"),
        "num_key_value_heads": ("num_key_value_heads", "num_attention_heads"),
        "intermediate_size": ("decoder_ffn_dim", "intermediate_size", "ffn_dim", "d_ff"),
        "max_position_embeddings": ("max_position_embeddings",),
    }
    for fact, places in names.items():
        found = next((v for place in places if (v := getattr(text, place, None))), None)
        stated = getattr(facts, fact)
        assert stated == found or (stated is None and fact == "max_position_embeddings"), fact
    config = built.reference.model.config
    vision = getattr(config, "vision_config", None) or getattr(config, "encoder", config)
    for fact in ("image_size", "patch_size"):
        stated, found = getattr(facts, fact), getattr(vision, fact, None)
        if stated is None or found is None or case.model == "fuyu":
            continue
        both = [stated] * 2 if isinstance(stated, int) else stated
        assert list(both) == (list(found) if isinstance(found, (list, tuple)) else [found] * 2)


@once
def test_a_model_made_twice_is_the_same(built: Built, tmp_path: Path) -> None:
    if built.case.asset is not None:
        pytest.skip("this model ships")
    from mmtrt.native.make_tiny import make_tiny

    make_tiny(built.case.model, tmp_path / "again", 0)
    assert files_of(tmp_path / "again") == files_of(built.plain_dir)


@made_for("onnxruntime")
@pytest.mark.cell("{format_}")
@pytest.mark.parametrize("format_", [name for name in Native.formats if name != "none"])
def test_a_quantized_language_model_is_close(built: Built, format_: str, tmp_path: Path) -> None:
    """Rounding changes logits, and leaves their direction.

    That engines compute with exactly the weights that were packed is shown for one family by
    ``test_quantize``. Four bits lose much of small random matrices; logits of unrelated requests
    have cosines near zero.
    """
    from mmtrt.native import quantize
    from mmtrt.native.multimodal_session import MultimodalSession

    flags: list[object] = ["--checkpoint-dir", built.checkpoint, "--output-dir", tmp_path / "c"]
    flags += ["--format", format_]
    if format_ in quantize.CALIBRATED:
        pictures = ROOT / "recipes/assets/pictures"
        flags += ["--model-dir", built.model_dir, "--calib-dataset", pictures, "--calib-size", 8]
    built.stage(quantize, *flags)
    for part in sorted(path.name for path in (tmp_path / "c").iterdir() if path.name != "vision"):
        place = "llm" if part == "llm" else f"llm/{part}"
        built.build_llm(tmp_path / "c" / part, tmp_path / "e" / place)
    (tmp_path / "e/vision").symlink_to(built.engines / "vision")
    packed = MultimodalSession(tmp_path / "e", built.model_dir)
    request = (built.case.texts[:1], [built.pictures[:1]])
    first, second = (
        session.answer(*request, max_new_tokens=1, keep_logits=True).generation.logits[0][0]
        for session in (built.session, packed)
    )
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert (0.6 if format_.startswith("int4") else 0.95) < cosine < 0.9999999


@made_for("onnxruntime")
@pytest.mark.cell("build", engine="tensorrt_rtx")
def test_its_graphs_compile_into_plans(built: Built, tmp_path: Path) -> None:
    """Ahead of time, without a GPU; nothing here can open a plan."""
    if find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed here; `make test-rtx` installs it")
    from mmtrt.native.errors import NativeError
    from mmtrt.native.tensorrt_lower import PlanTarget, lower

    shutil.copytree(built.engines, tmp_path / "e")
    for config in sorted((tmp_path / "e").rglob("config.json")):
        before = json.loads(config.read_text())
        try:
            lower(config.parent, "tensorrt_rtx", PlanTarget(capabilities=(SM,)))
        except NativeError as error:
            pytest.skip(f"refused {error.code}: {error.message}")
        after = json.loads(config.read_text())
        assert after["files"] == ["model.plan"] and not [*config.parent.glob("*.onnx*")]
        assert after["plan"]["compute_capabilities"] == [SM]
        names = [spec["name"] for spec in after["plan"]["inputs"]]
        assert names == [spec["name"] for spec in before["inputs"]]


@pytest.mark.slow
def test_another_process_makes_the_same_model(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from mmtrt.native.make_tiny import make_tiny

    make_tiny("llava_next", tmp_path / "here", 7)
    flags = ("--family", "llava_next", "--seed", 7, "--output-dir", tmp_path / "there")
    finish(start_stage("make_tiny", *flags, PYTHONHASHSEED="7", OMP_NUM_THREADS="1"))
    assert files_of(tmp_path / "here") == files_of(tmp_path / "there")


def test_every_tiny_model_and_family_has_a_case() -> None:
    from mmtrt.native.families import FAMILIES
    from mmtrt.native.tiny import MODELS

    assert {name for name, case in CASES.items() if case.asset is None} == set(MODELS)
    assert set(FAMILIES.values()) <= set(CASES)
