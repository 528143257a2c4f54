from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmtrt.native.errors import NativeError
from mmtrt.native.image_file import open_image
from mmtrt.native.run import RESULT_FILE, main, pair_up
from tests.native.conftest import ROOT, finish, start_stage
from tests.native.tiny_llava import PROMPTS


@pytest.fixture
def flags(engines: Path, tiny_model: Path, tmp_path: Path) -> list[object]:
    return ["--engine-dir", engines, "--model-dir", tiny_model, "--output-dir", tmp_path / "out"]


def result(tmp_path: Path) -> dict:
    return json.loads((tmp_path / "out" / RESULT_FILE).read_text())


def test_result_has_the_promised_shape(
    flags: list[object], images: list[Path], tmp_path: Path
) -> None:
    log = finish(
        start_stage(
            "run",
            *flags,
            *("--input-text", PROMPTS[0], "USER: <image>\nwhat? ASSISTANT:"),
            *("--image-path", *images[:2], "--max-new-tokens", 5),
        )
    )
    document = result(tmp_path)
    assert sorted(document) == ["requests", "schema", "timings"]
    assert document["schema"] == 1
    first, second = document["requests"]
    assert first["full_prompt"] == f"USER: <image>\n{PROMPTS[0]} ASSISTANT:"
    assert second["full_prompt"] == "USER: <image>\nwhat? ASSISTANT:"
    assert [first["images"], second["images"]] == [["0.png"], ["1.png"]]
    assert 1 <= len(first["token_ids"]) <= 5
    assert isinstance(first["text"], str)
    timings = document["timings"]
    names = {"vision_ms", "prefill_ms", "decode_ms_per_token", "load_ms", "new_tokens"}
    assert set(timings) == names
    assert timings["new_tokens"] == sum(len(one["token_ids"]) for one in document["requests"])
    assert all(value > 0 for value in timings.values())
    assert "0.png" in log


def test_run_imports_no_torch(flags: list[object], images: list[Path], tmp_path: Path) -> None:
    """Its process, that is: torch takes longer to be imported than most requests."""
    argv = [*map(str, flags), "--input-text", "hi", "--image-path", str(images[0])]
    program = (
        "import runpy, sys\n"
        "try: runpy.run_module('mmtrt.native.run', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end: status = end.code\n"
        "heavy = {'torch', 'torchvision', 'onnx', 'safetensors'} & set(sys.modules)\n"
        "raise SystemExit(f'imported {heavy}' if heavy else status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *argv], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "PyTorch" not in done.stderr


def test_a_single_image_and_text_are_repeated(
    flags: list[object], images: list[Path], tmp_path: Path
) -> None:
    argv = [*flags, "--input-text", "hi", "--image-path", images[0], "--batch-size", 3]
    assert main([str(flag) for flag in argv]) == 0
    requests = result(tmp_path)["requests"]
    assert len(requests) == 3
    assert requests[0] == requests[1] == requests[2]


def test_flags_may_be_repeated_and_a_text_may_begin_with_a_dash(
    flags: list[object], images: list[Path], tmp_path: Path
) -> None:
    argv = [*flags, *(f"--image-path={image}" for image in images[:2])]
    argv += ["--input-text=-1 or 1?", "--input-text=hi", "--max-new-tokens", 2]
    assert main([str(flag) for flag in argv]) == 0
    requests = result(tmp_path)["requests"]
    assert [one["images"] for one in requests] == [["0.png"], ["1.png"]]
    assert [one["prompt"] for one in requests] == ["-1 or 1?", "hi"]


def test_profiling_reports_medians(flags: list[object], images: list[Path], tmp_path: Path) -> None:
    argv = [*flags, "--input-text", "hi", "--image-path", images[0], "--run-profiling"]
    assert main([str(flag) for flag in argv]) == 0
    assert result(tmp_path)["timings"]["profiled_runs"] == 10


def test_sampling_depends_on_the_seed_only(
    flags: list[object], images: list[Path], tmp_path: Path
) -> None:
    def sample(seed: int) -> list:
        argv = [*flags, "--input-text", "hi", "--image-path", images[0], "--seed", seed]
        argv += ["--top-k", 50, "--top-p", 0.95, "--temperature", 2, "--repetition-penalty", 1.2]
        assert main([str(flag) for flag in argv]) == 0
        return result(tmp_path)["requests"][0]["token_ids"]

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)


def test_pairs() -> None:
    assert pair_up(["a"], ["x", "y"], None) == (["a", "a"], [["x"], ["y"]])
    assert pair_up(["a", "b"], ["x"], 2) == (["a", "b"], [["x"], ["x"]])
    assert pair_up(["a", "b"], [], None) == (["a", "b"], [[], []])
    assert pair_up(["a"], ["x", "y"], 1) == (["a"], [["x", "y"]])
    assert pair_up(["a"], ["w", "x", "y", "z"], 2) == (["a", "a"], [["w", "x"], ["y", "z"]])


@pytest.mark.parametrize(
    ("texts", "images", "batch", "named"),
    [
        (["a", "b"], ["x", "y", "z"], None, "--input-text has 2 values, there are 3 requests"),
        (["a", "b", "c"], ["x", "y"], None, "--image-path has 2 values, there are 3 requests"),
        (["a", "b"], ["x"], 3, "--input-text has 2 values, --batch-size is 3"),
        (["a"], ["x", "y", "z"], 2, "--image-path has 3 values, --batch-size is 2"),
    ],
)
def test_counts_that_do_not_pair_are_refused(
    texts: list[str], images: list[str], batch: int | None, named: str
) -> None:
    with pytest.raises(NativeError, match=named) as caught:
        pair_up(texts, images, batch)
    assert caught.value.code == "RUN211"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--engine-dir": "/nowhere"}, "error[ART203]: /nowhere/llm/config.json: no such file"),
        ({"--model-dir": "/nowhere"}, "error[MDL201]: /nowhere: no such directory"),
        ({"--image-path": "/nowhere.png"}, "error[RUN213]: /nowhere.png: no such image"),
        ({"--image-path": __file__}, "error[RUN213]: " + __file__ + ": not an image"),
        ({"--image-path": "https://a/b.png"}, "error[RUN213]: https://a/b.png: the native runtime"),
        ({"--input-text": "<image> <image>"}, "error[RUN212]: a text holds 2 times <image>"),
        ({"--temperature": "-1"}, "error[RUN215]: temperature must be at least 0, not -1.0"),
        ({"--top-p": "1.5"}, "error[RUN215]: top_p must be at most 1, not 1.5"),
    ],
)
def test_bad_input_is_refused_without_a_traceback(
    flags: list[object],
    images: list[Path],
    refused: Callable[..., str],
    tmp_path: Path,
    change: dict[str, str],
    message: str,
) -> None:
    given = dict(zip(flags[::2], flags[1::2]))
    given |= {"--input-text": "hi", "--image-path": images[0], **change}
    err = refused(main, *(part for pair in given.items() for part in pair))
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "out" / RESULT_FILE).exists()


@pytest.mark.parametrize("content", [b"", b"no protobuf", None])
def test_a_damaged_engine_is_refused(
    flags: list[object],
    engines: Path,
    tmp_path: Path,
    refused: Callable[..., str],
    content: bytes | None,
) -> None:
    shutil.copytree(engines, tmp_path / "e")
    path = tmp_path / "e/llm/model.onnx"
    path.write_bytes(path.read_bytes()[:-5000] if content is None else content)
    err = refused(main, *flags, "--engine-dir", tmp_path / "e", "--input-text", "hi")
    assert f"error[ART203]: {path}: onnxruntime " in err


def test_an_output_directory_that_is_a_file_is_told(
    flags: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("")
    assert main([*map(str, flags), "--input-text", "hi"]) == 1
    assert f"error[HST201]: {tmp_path / 'out'}: File exists" in capsys.readouterr().err


def test_placeholder_without_image_is_refused(
    flags: list[object], refused: Callable[..., str]
) -> None:
    err = refused(main, *flags, "--input-text", "<image> what?")
    assert "error[RUN212]: a text holds 1 times <image> and has 0 images" in err


@pytest.mark.parametrize("stage", ["convert", "quantize", "build_llm", "build_vision", "run"])
def test_help_needs_no_package(stage: str) -> None:
    """``-S`` hides site-packages: what is left is the standard library and our own code."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", f"mmtrt.native.{stage}", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"usage: python -m mmtrt.native.{stage}" in done.stdout


def test_missing_package_is_told(tiny_model: Path, engines: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "mmtrt.native.run", "--input-text", "hi"]
        + ["--engine-dir", engines, "--model-dir", tiny_model, "--output-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 5
    assert "error[ART212]" in done.stderr
    assert "package is onnxruntime, here it is not installed" in done.stderr


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    Image.new("RGB", (40, 20)).save(tmp_path / "p.jpg", exif=exif)
    assert open_image(str(tmp_path / "p.jpg")).size == (20, 40)
