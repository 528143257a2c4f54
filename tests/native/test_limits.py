from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mmtrt.native.build_llm import main as build_main
from mmtrt.native.errors import NativeError
from mmtrt.native.limits import LlmLimits, RequestSize, check_limits, check_request
from mmtrt.native.run import RESULT_FILE
from mmtrt.native.run import main as run_main
from tests.native.tiny_llava import PROMPTS, ROWS

FIT = LlmLimits(
    max_batch_size=3,
    max_input_len=20,
    max_seq_len=30,
    max_num_tokens=60,
    max_multimodal_len=27,
    max_encoder_input_len=40,
)
REQUEST = RequestSize(
    batch=3, input_len=20, new_tokens=10, visual_features=9, images=3, encoder_len=40
)
CODES = {
    "max_batch_size": "RUN201",
    "vision.max_batch_size": "RUN202",
    "max_input_len": "RUN203",
    "max_seq_len": "RUN204",
    "max_num_tokens": "RUN205",
    "max_multimodal_len": "RUN206",
    "max_encoder_input_len": "RUN207",
}


def test_a_request_exactly_at_every_limit_fits() -> None:
    check_request(REQUEST, FIT, 3)


@pytest.mark.parametrize(
    ("change", "limits", "vision", "named"),
    [
        ({"batch": 4}, {"max_num_tokens": 80}, 4, "max_batch_size is 3"),
        ({"images": 4}, {}, 3, "vision.max_batch_size is 3"),
        ({"input_len": 21, "new_tokens": 9}, {"max_num_tokens": 63}, 3, "max_input_len is 20"),
        (
            {"new_tokens": 11},
            {},
            3,
            "11 new tokens make 31, max_seq_len is 30",
        ),
        ({}, {"max_num_tokens": 59}, 3, "3 requests of 20 tokens make 60, max_num_tokens is 59"),
        ({"visual_features": 10}, {}, 3, "max_multimodal_len 27 leaves 9 for each of 3 requests"),
        ({}, {"max_multimodal_len": 26}, 3, "max_multimodal_len 26 leaves 8 for each of 3"),
        ({"encoder_len": 41}, {}, 3, "attends to 41 rows, max_encoder_input_len is 40"),
        ({"start_len": 21}, {}, 3, "21 prompt tokens and 10 new tokens make 31, max_seq_len"),
    ],
)
def test_one_more_is_refused_by_name_alone(
    change: dict[str, int], limits: dict[str, int], vision: int, named: str
) -> None:
    with pytest.raises(NativeError) as caught:
        check_request(replace(REQUEST, **change), replace(FIT, **limits), vision)
    assert named in caught.value.message
    assert CODES[next(name for name in reversed(CODES) if name in named)] == caught.value.code
    assert caught.value.also == []
    assert caught.value.fix


def test_all_excesses_are_told_at_once() -> None:
    size = replace(REQUEST, batch=4, input_len=40, visual_features=10, images=9, encoder_len=41)
    with pytest.raises(NativeError) as caught:
        check_request(size, FIT, 3)
    assert [error.code for error in (caught.value, *caught.value.also)] == [*CODES.values()]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"max_input_len": 30}, "max_input_len is 30, max_seq_len allows at most 29"),
        ({"max_num_tokens": 19}, "max_input_len is 20, max_num_tokens allows at most 19"),
        ({"max_batch_size": 61}, "max_batch_size is 61, max_num_tokens allows at most 60"),
    ],
)
def test_limits_that_contradict_each_other_are_refused(change: dict[str, int], named: str) -> None:
    check_limits(FIT)
    with pytest.raises(NativeError, match=named):
        check_limits(replace(FIT, **change))


def test_build_llm_refuses_contradicting_limits(
    checkpoint: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    message = refused(
        build_main,
        *("--checkpoint-dir", checkpoint / "llm", "--output-dir", tmp_path / "engine"),
        *("--max-batch-size", 1, "--max-input-len", 64, "--max-seq-len", 64),
    )
    assert message.startswith("error[ENG201]: max_input_len is 64, max_seq_len allows at most 63")
    assert not (tmp_path / "engine").exists()


@pytest.fixture
def world(
    engines: Path, tiny_model: Path, images: list[Path], tmp_path: Path
) -> Callable[[str, int], list[str]]:
    """Return the flags of ``run`` over engines whose configuration has one limit changed."""
    for name in ("llm", "vision"):
        (tmp_path / "e" / name).mkdir(parents=True)
        (tmp_path / "e" / name / "model.onnx").symlink_to(engines / name / "model.onnx")

    def with_limit(limit: str, value: int) -> list[str]:
        for name in ("llm", "vision"):
            config = json.loads((engines / name / "config.json").read_text())
            if limit.startswith("vision.") == (name == "vision") and limit != "max_seq_len":
                config["limits"][limit.removeprefix("vision.")] = value
            (tmp_path / "e" / name / "config.json").write_text(json.dumps(config))
        # The length of the KV cache is part of the graph: change the request instead.
        new_tokens = 1 + (80 - value if limit == "max_seq_len" else 0)
        flags = ["--engine-dir", tmp_path / "e", "--model-dir", tiny_model]
        flags += ["--output-dir", tmp_path / "out", "--max-new-tokens", new_tokens]
        flags += ["--input-text", *PROMPTS, "--image-path", *images]
        return [str(flag) for flag in flags]

    return with_limit


@pytest.fixture
def longest(engines: Path, tiny_model: Path, images: list[Path]) -> int:
    from mmtrt.native.multimodal_session import MultimodalSession

    session = MultimodalSession(engines, tiny_model)
    prompts = session.prompts(PROMPTS, images=1)
    prepared = session.prepare(prompts, [[str(path)] for path in images])
    return max(len(ids) for ids in prepared.prompts)


@pytest.mark.parametrize("limit", [limit for limit in CODES if "encoder" not in limit])
def test_run_works_at_the_limit_and_refuses_one_more(
    limit: str,
    world: Callable[[str, int], list[str]],
    longest: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    exact = {
        "max_batch_size": 3,
        "vision.max_batch_size": 3,
        "max_input_len": longest,
        "max_seq_len": longest + 1,
        "max_num_tokens": 3 * longest,
        "max_multimodal_len": 3 * ROWS,
    }[limit]
    if limit == "max_seq_len":
        # See the fixture: the most and one more of the new tokens that fit.
        exact = 81 - (80 - longest)
    result = tmp_path / "out" / RESULT_FILE
    assert run_main(world(limit, exact)) == 0, capsys.readouterr().err
    result.unlink()
    assert run_main(world(limit, exact - 1)) == 2
    message = capsys.readouterr().err.splitlines()
    found = [line for line in message if line.startswith("error")]
    # With fewer requests allowed, the share of the prompt table grows: still one error.
    assert len(found) == 1
    assert found[0].startswith(f"error[{CODES[limit]}]: ")
    assert limit in found[0]
    assert message[-1].strip().startswith(("fix: ", "why: "))
    assert not result.exists()
