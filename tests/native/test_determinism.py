from __future__ import annotations

from pathlib import Path

import pytest

from tests.native.conftest import ROOT, build_engines, finish, start_stage

OTHER_PROCESS = {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"}


def files_of(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second copy of the package in another place, to find paths that leak into outputs."""
    copy = tmp_path_factory.mktemp("copy")
    (copy / "mmtrt").symlink_to(ROOT / "mmtrt")
    return copy


def test_two_builds_give_equal_bytes(
    checkpoint: Path, engines: Path, elsewhere: Path, tmp_path: Path
) -> None:
    env = {**OTHER_PROCESS, "PYTHONPATH": str(elsewhere)}
    build_engines(checkpoint, tmp_path, cwd=elsewhere, **env)
    first, second = files_of(engines), files_of(tmp_path)
    assert sorted(first) == [
        f"{part}/{name}" for part in ("llm", "vision") for name in ("config.json", "model.onnx")
    ]
    assert second == first


def test_two_conversions_give_equal_bytes(
    tiny_model: Path, checkpoint: Path, elsewhere: Path, tmp_path: Path
) -> None:
    flags = ("--model-dir", tiny_model, "--output-dir", tmp_path)
    finish(start_stage("convert", *flags, cwd=elsewhere, **OTHER_PROCESS))
    assert files_of(tmp_path) == files_of(checkpoint)


def test_two_quantizations_give_equal_bytes(checkpoint: Path, tmp_path: Path) -> None:
    for name in "ab":
        flags = ("--checkpoint-dir", checkpoint, "--output-dir", tmp_path / name)
        finish(start_stage("quantize", *flags, "--format", "int4_wo", **OTHER_PROCESS))
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_outputs_name_no_path_of_this_machine(
    checkpoint: Path, engines: Path, tiny_model: Path
) -> None:
    private = [str(ROOT), str(tiny_model.parent), str(Path.home()), "site-packages"]
    for directory in (checkpoint, engines):
        for name, content in files_of(directory).items():
            for text in private:
                assert text.encode() not in content, (name, text)
