"""Packs: what is in them, that their bytes are the same twice, and that they run elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

from mmtrt.backends.flags import parse, problems, tool_of
from mmtrt.cli import dispatch
from mmtrt.pack import launcher
from mmtrt.pack.code import bundled
from mmtrt.pack.contents import _needs, split_command
from mmtrt.report.runs import run_dirs
from mmtrt.report.targets import read_run
from tests.provenance.conftest import fake_home, mmtrt, real_home  # noqa: F401 - fixtures


@pytest.fixture
def at_fake(fake_home, monkeypatch):  # noqa: F811
    monkeypatch.chdir(fake_home)
    return fake_home


def packed(target: Path, *words: str) -> Path:
    assert dispatch(["pack", "-o", str(target), *words]) == 0
    return target


def unpacked(archive: Path, where: Path) -> Path:
    where.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        tar.extractall(where, filter="data")
    (directory,) = where.iterdir()
    return directory


def start(pack: Path, *words: str, python: Path | str = sys.executable, cwd: Path | None = None):
    """Run the program of a pack with no mmtrt of the checkout in sight."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [python, pack / "run", *words],
        capture_output=True,
        text=True,
        cwd=cwd or pack.parent,
        env=env,
        timeout=120,
    )


def test_two_packs_have_equal_bytes_and_tell_nothing_of_the_machine(at_fake, tmp_path):
    one, two = (packed(tmp_path / f"{name}.tar.gz") for name in "ab")
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes()[4:8] == bytes(4), "no time in gzip's header"
    with tarfile.open(one) as tar:
        members = tar.getmembers()
    assert [m.name for m in members if m.isfile()] == sorted(m.name for m in members if m.isfile())
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members} == {
        (0, 0, "", "", 315532800)
    }
    assert {m.mode for m in members} == {0o644, 0o755}
    assert not any(m.issym() or m.islnk() for m in members)


def test_zstandard_where_it_is_installed(at_fake, tmp_path, monkeypatch, capsys):
    zstandard = pytest.importorskip("zstandard")
    plain = packed(tmp_path / "a.tar").read_bytes()
    packed(tmp_path / "a.tar.zst")
    with (tmp_path / "a.tar.zst").open("rb") as file:
        assert zstandard.ZstdDecompressor().stream_reader(file).read() == plain
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setitem(sys.modules, "compression", None)
    assert dispatch(["pack", "-o", str(tmp_path / "b.tar.zst")]) == 5
    assert "pip install 'mmtrt[pack]'" in capsys.readouterr().err
    assert not list(tmp_path.glob("*b.tar*"))


@pytest.fixture(scope="module")
def pack(fake_home, tmp_path_factory):  # noqa: F811
    """Return a pack that is a directory, with the original weights."""
    place = tmp_path_factory.mktemp("packs") / "pack"
    done = mmtrt("pack", "-o", str(place), "--with-weights", cwd=fake_home)
    assert done.returncode == 0, done.stderr
    return place


def test_a_directory_is_whole_and_checks_out(at_fake, pack, capsys):
    done = subprocess.run(
        ["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"], cwd=pack, capture_output=True
    )
    assert done.returncode == 0, done.stdout
    listed = {line.split("  ", 1)[1] for line in (pack / "SHA256SUMS").read_text().splitlines()}
    there = {p.relative_to(pack).as_posix() for p in pack.rglob("*") if p.is_file()}
    assert there - listed == {"SHA256SUMS"} and listed <= there
    assert not any(path.is_symlink() for path in pack.rglob("*"))
    assert dispatch(["pack", "-o", str(pack)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_weights_stay_behind_and_the_papers_come_along(fake_pack, pack):
    names, more = (
        {p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()}
        for place in (fake_pack, pack)
    )
    assert {"engine/llm/rank0.engine", "engine/vision/model.engine", "model/config.json"} <= names
    assert {"run", "README.md", "pack.json", "mmtrt.lock", "SHA256SUMS"} <= names
    assert {"provenance/slsa.intoto.json", "provenance/bom.cdx.json"} <= names
    assert "model/model.safetensors" not in names
    assert more - names == {"model/model.safetensors"}
    subjects = json.loads((pack / "provenance/slsa.intoto.json").read_text())["subject"]
    for row in subjects:
        path = pack / "engine" / row["name"].removeprefix("assemble/")
        assert hashlib.sha256(path.read_bytes()).hexdigest() == row["digest"]["sha256"]


def test_nothing_half_written_is_left_by_a_failure(at_fake, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    assert dispatch(["pack", "-o", str(tmp_path / "a.tar.gz")]) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_answer_cannot_be_packed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert dispatch(["recipe=llava", "backend=fake", "until=build_llm", "-q"]) == 0
    assert dispatch(["pack"]) == 1
    assert "error[ART134]" in capsys.readouterr().err


@pytest.fixture(scope="module")
def fake_pack(fake_home, tmp_path_factory):  # noqa: F811
    """Return a pack of the fake toolchain, unpacked on another path."""
    where = tmp_path_factory.mktemp("elsewhere with space")
    done = mmtrt("pack", "-o", str(where / "a.tar.gz"), cwd=fake_home)
    assert done.returncode == 0, done.stderr
    return unpacked(where / "a.tar.gz", where / "there")


def test_fake_pack_runs_alone_and_answers_as_before(fake_pack, fake_home, tmp_path):  # noqa: F811
    report = read_run(run_dirs(fake_home / "outputs/runs")[0]).report
    # Neither site-packages nor the checkout: Python is all that it needs.
    done = subprocess.run(
        [sys.executable, "-I", "-S", fake_pack / "run"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stderr
    assert report.results[0]["text"] in done.stdout + done.stderr


def test_the_command_is_one_that_the_real_tool_takes(fake_pack):
    done = start(fake_pack, "--dry-run", "--input-text", "Why?", "--max_new_tokens", "7")
    words = shlex.split(done.stdout)
    argv = words[next(i for i, word in enumerate(words) if word.endswith("/run.py")) :]
    assert tool_of(argv, "1.2.1") is not None
    assert list(problems(argv, "1.2.1")) == []
    assert list(problems([*argv, "--no_such_flag"], "1.2.1")) != []
    given = parse(argv, "1.2.1")
    assert given["--input_text"] == ["Why?"], "one's own takes the place of the recorded one"
    assert given["--max_new_tokens"] == ["7"]
    assert given["--hf_model_dir"] == [str(fake_pack / "model")]
    assert given["--engine_dir"] == [str(fake_pack / "engine")]


def test_scripts_of_the_toolchain_are_found_on_the_other_machine(tmp_path):
    argv = ["mpirun", "-n", "2", "--allow-run-as-root", "{python}"]
    argv += ["{examples}/models/core/multimodal/run.py", "--hf_model_dir", "{in.model}"]
    argv += ["--engine_dir", "{in.engine}", "--image_path", "{local.image0}/a b.png"]
    argv += ["--input_text", "{{x}} y", "--run_profiling"]
    program, flags = split_command(argv)
    assert program == argv[:6]
    assert flags[-1] == ["--run_profiling"] and flags[2] == ["--image_path", argv[11]]
    pack = {"program": program, "flags": flags}
    (tmp_path / "examples").mkdir()
    words = launcher.words(pack, Path("/p"), Path("/o"), [], str(tmp_path / "examples"))
    assert words[4:8] == [
        sys.executable,
        str(tmp_path / "examples/models/core/multimodal/run.py"),
        "--hf_model_dir",
        "/p/model",
    ]
    assert words[9:] == [
        *("/p/engine", "--image_path", "/p/inputs/image0/a b.png"),
        *("--input_text", "{x} y", "--run_profiling"),
    ]
    mine = launcher.words(
        pack, Path("/p"), Path("/o"), [("--image-path", ["{out}.png"])], str(tmp_path / "examples")
    )
    assert mine[-2:] == ["--image_path", "{out}.png"], "what the user types is taken as it is"
    with pytest.raises(launcher.Refused, match="--examples-dir"):
        launcher.words(pack, Path("/p"), Path("/o"), [], str(tmp_path / "none"))


def test_dashes_in_values_stay_with_their_flag(tmp_path):
    own, flags = launcher._split(["--input-text=-1 or --2", "--top-k", "3", "--dry-run"])
    assert own == {"dry-run": "yes"}
    program, recorded = split_command(["{python}", "-m", "m", "--input-text=-x", "--seed", "0"])
    words = launcher.words({"program": program, "flags": recorded}, tmp_path, tmp_path, flags)
    assert words[3:] == ["--seed", "0", "--input-text=-1 or --2", "--top-k", "3"]


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: path.unlink(), "engine/llm/rank0.engine is missing"),
        (lambda path: path.write_bytes(b"x"), "engine/llm/rank0.engine is not the file that was"),
    ],
)
def test_a_bad_copy_is_refused_by_name(fake_pack, tmp_path, harm, message):
    pack = Path(shutil.copytree(fake_pack, tmp_path / "pack"))
    harm(pack / "engine/llm/rank0.engine")
    done = start(pack)
    assert done.returncode == 2
    assert message in done.stderr and "unpack it again" in done.stderr


def test_the_papers_are_part_of_what_is_checked(fake_pack, tmp_path):
    pack = Path(shutil.copytree(fake_pack, tmp_path / "pack"))
    (pack / "SHA256SUMS").unlink()
    assert "SHA256SUMS cannot be read" in start(pack).stderr
    assert start(pack, "--no-check", "--dry-run").returncode == 0
    (pack / "pack.json").write_text("{")
    assert "pack.json is missing or damaged" in start(pack, "--no-check").stderr


def test_versions_and_gpus_that_engines_are_tied_to_are_checked(monkeypatch):
    pack = {"needs": [{"package": "tensorrt-llm", "version": "1.2.1"}], "gpu": {"sm": 90}}
    with pytest.raises(launcher.Refused, match=r"pip install 'tensorrt-llm==1\.2\.1'"):
        launcher.check_machine(pack)
    monkeypatch.setattr(launcher, "_version", lambda name: "1.1.0")
    with pytest.raises(launcher.Refused, match=r"need tensorrt-llm 1\.2\.1, here is 1\.1\.0"):
        launcher.check_machine(pack)
    monkeypatch.setattr(launcher, "_version", lambda name: "1.2.1+cu13")
    monkeypatch.setattr(launcher, "_compute_capabilities", lambda: [80])
    with pytest.raises(launcher.Refused, match="compute capability 90, here is 80"):
        launcher.check_machine(pack)
    monkeypatch.setattr(launcher, "_compute_capabilities", lambda: [80, 90])
    launcher.check_machine(pack)
    need = {"package": "tensorrt", "or": ["tensorrt-cu13"], "built_with": "10.13.0"}
    monkeypatch.setattr(launcher, "_version", {"tensorrt-cu13": "10.14"}.get)
    launcher.check_machine({"needs": [need]})


ABSENT = ("torch", "functorch", "torchgen", "hydra", "omegaconf", "hydra_plugins", "mmtrt")
"""Beginnings of the names that an interpreter of a pack's own need not have."""


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory) -> Path:
    """Return an interpreter that has neither mmtrt nor torch nor Hydra."""
    root = tmp_path_factory.mktemp("bare")
    venv.create(root, with_pip=False, symlinks=True)
    (target,) = (root / "lib").glob("python*/site-packages")
    source = Path(pytest.importorskip("onnxruntime").__file__).parent.parent
    for path in source.iterdir():
        if not path.name.lower().startswith(ABSENT) and path.suffix != ".pth":
            (target / path.name).symlink_to(path)
    return root / "bin/python"


def test_real_pack_answers_the_same_elsewhere(real_home, bare_python, tmp_path, monkeypatch):  # noqa: F811
    """The store is gone, mmtrt is not installed: the same text and the same tokens."""
    (run,) = run_dirs(real_home / "outputs/runs")
    (original,) = read_run(run).report.results
    done = mmtrt("pack", "-o", str(tmp_path / "a.tar.gz"), cwd=real_home)
    assert done.returncode == 0, done.stderr
    (real_home / "outputs").rename(real_home / "away")
    try:
        pack = unpacked(tmp_path / "a.tar.gz", tmp_path / "other place")
        probe = "import importlib.util as u; print([u.find_spec(n) for n in ('torch', 'mmtrt')])"
        words = [bare_python, "-I", "-c", probe]
        seen = subprocess.run(words, capture_output=True, text=True)
        assert seen.stdout == "[None, None]\n"
        done = start(pack, "--output-dir", "out", python=bare_python, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"prompt: {original['prompt']}\nanswer: {original['text']}\n"
        (again,) = json.loads((tmp_path / "out/result.json").read_text())["requests"]
        assert again["token_ids"] == original["token_ids"]
        shutil.copy(next((pack / "inputs/image0").iterdir()), tmp_path / "mine.png")
        mine = ("--image-path", "mine.png", "--input-text", "What shape is it?")
        done = start(pack, *mine, python=bare_python, cwd=tmp_path)
        assert "answer: circle" in done.stdout, done.stderr
    finally:
        (real_home / "away").rename(real_home / "outputs")


def test_a_pack_holds_only_the_code_that_it_runs():
    names = [item.name for item in bundled(["{python}", "-m", "mmtrt.native.run"])]
    ours = {name.split("/")[2] for name in names if name.startswith("lib/mmtrt/")}
    assert list(bundled(["{python}", "{examples}/models/core/multimodal/run.py"])) == []
    assert {"native", "errors.py", "__init__.py"} <= ours
    # Of the configuration, what says the bounds of a request.
    assert not ours & {"cli", "plan", "executor", "report", "rules", "backends"}


def test_what_engines_are_tied_to_decides_what_must_be_installed(tmp_path):
    from types import SimpleNamespace

    (tmp_path / "llm").mkdir()
    ties = {"package": "tensorrt", "version": "10.13.3", "device": "cuda"}
    (tmp_path / "llm/config.json").write_text(json.dumps({"tied_to": ties}))
    files = [SimpleNamespace(path="llm/config.json")]
    engine = SimpleNamespace(path=tmp_path, manifest=SimpleNamespace(files=files))
    toolchain = {"backend": "native", "versions": {"numpy": "2.4", "pillow": "absent"}}
    assert list(_needs(toolchain, engine)) == [
        {"package": "tensorrt", "or": ["tensorrt-cu13", "tensorrt-cu12"], "built_with": "10.13.3"},
        {"package": "numpy", "or": [], "built_with": "2.4"},
    ]
    toolchain = {"backend": "trtllm", "versions": {"tensorrt-llm": "1.2.1"}}
    assert list(_needs(toolchain, None)) == [{"package": "tensorrt-llm", "version": "1.2.1"}]
