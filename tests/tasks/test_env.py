from __future__ import annotations

import base64
import hashlib
import os
import socket
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from mmtrt.artifacts.digest import DigestMemo
from mmtrt.artifacts.outputs import seal
from mmtrt.artifacts.tree import scan
from mmtrt.tasks import pip
from mmtrt.tasks.messages import TaskError
from mmtrt.tasks.overlay import PATH_FILE, TRAMPOLINE
from mmtrt.tasks.requirements import Pin, options, parse_report, read_files

from .conftest import ROOT, Ended, Stage, call

TOOL = "import sys, dish; print(dish.version, sys.argv[1:], sys.executable)"


def wheel(
    folder: Path, name: str, version: str, needs: Sequence[str] = (), script: str | None = None
) -> Path:
    """Write a wheel of one module that knows its version."""
    info = f"{name}-{version}.dist-info"
    requires = "".join(f"Requires-Dist: {need}\n" for need in needs)
    files = {
        f"{name}.py": f"version = '{version}'\ndef main():\n    {TOOL}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if script is not None:
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{script} = {name}:main\n"
        files[f"{name}-{version}.data/scripts/{script}-plain"] = f"#!python\n{TOOL}\n"
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            entry = zipfile.ZipInfo(file)
            entry.external_attr = (0o100755 if "/scripts/" in file else 0o100644) << 16
            archive.writestr(entry, text)
    return path


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels") / "whe els"
    wheel(folder, "dish", "1.0")
    wheel(folder, "dish", "2.0", ["salt>=1", "sugar"], script="cook")
    wheel(folder, "salt", "1.0")
    wheel(folder, "salt", "3.0")
    wheel(folder, "sugar", "1.0")
    wheel(folder, "menu", "1.0", ["dish<2"])
    return folder


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Path:
    """The Python of a virtual environment with old packages, and all that the tests' Python has."""
    root = tmp_path_factory.mktemp("host") / "hôst"
    venv.EnvBuilder(symlinks=True).create(root)
    python = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    site_packages = root / "lib" / python / "site-packages"
    for name in ("dish-1.0", "salt-1.0"):
        with zipfile.ZipFile(wheels / f"{name}-py3-none-any.whl") as archive:
            archive.extractall(site_packages)
    more = sysconfig.get_path("purelib")
    (site_packages / "more.pth").write_text(f"import site; site.addsitedir({more!r})\n")
    return root / "bin" / "python"


@pytest.fixture(autouse=True)
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty directory in which a stage starts."""
    place = tmp_path / "cwd"
    place.mkdir()
    monkeypatch.chdir(place)
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    # Whoever asks the real index in these tests fails at once.
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    return place


@pytest.fixture
def make(stage: Stage, host: Path, cwd: Path):  # type: ignore[no-untyped-def] # a local function
    def run(out: Path, *flags: object, **env: str) -> Ended:
        done = subprocess.run(
            [str(host), "-m", "mmtrt.tasks.env", "--output-dir", str(out), *map(str, flags)],
            env={**stage.env, "PYTHONPATH": str(ROOT), **env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not any(cwd.iterdir())
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


def python(out: Path, code: str) -> str:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    argv = [str(out / "bin" / "python"), "-c", code]
    return subprocess.run(argv, env=env, check=True, capture_output=True, text=True).stdout.strip()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


LONG = f"long {'x' * 130}"
"""Longer than the first line of a script may be, so that installers write a trampoline, too."""


@pytest.mark.parametrize("name", ["out", LONG])
def test_pinned_packages_win_wherever_the_environment_is(  # type: ignore[no-untyped-def]
    make, wheels: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / name
    ended = make(out, "--requirement", "dish == 2.0", "--no-index", "--find-links", wheels).done()
    assert ended.stdout == "dish 2.0\nsugar 1.0\n"
    # salt is good enough as it is; sugar is missing on the host.
    assert (out / "requirements.lock").read_text() == "".join(
        f"{name}=={version} --hash=sha256:{digest(wheels / f'{name}-{version}-py3-none-any.whl')}\n"
        for name, version in (("dish", "2.0"), ("sugar", "1.0"))
    )
    assert (out / "requirements.txt").read_text() == "dish == 2.0\n"
    seen = "import dish, salt, sugar, yaml, pip; print(dish.version, salt.version, sugar.version)"
    assert python(out, seen) == "2.0 1.0 1.0"
    moved = tmp_path / "elsewhere" / "o'ut ünï"
    moved.parent.mkdir()
    seal(out, moved, DigestMemo(None))  # as the store does before it moves an output
    out.rename(moved)
    assert python(moved, seen) == "2.0 1.0 1.0"
    link = tmp_path / "link"
    link.symlink_to(moved / "bin" / "cook")
    for script in (moved / "bin" / "cook", moved / "bin" / "cook-plain", link):
        said = subprocess.run([script, "a b"], check=True, capture_output=True, text=True).stdout
        assert said == f"2.0 ['a b'] {moved}/bin/python\n"
        assert script.read_bytes().startswith(TRAMPOLINE)
    names = {leaf.path for leaf in scan(str(moved)).files}
    for path in names:
        if not path.startswith("bin/python"):
            assert os.fsencode(out) not in (moved / path).read_bytes(), path
    assert not [path for path in names if "__pycache__" in path or "/pip" in path]
    assert {path for path in names if path.startswith("bin/")} == {
        *("bin/python", "bin/python3", "bin/cook", "bin/cook-plain")
    }
    record = next(moved.rglob("dish-2.0.dist-info/RECORD")).read_text()
    content = (moved / "bin" / "cook").read_bytes()
    value = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    assert f"../../../bin/cook,sha256={value},{len(content)}\n" in record


def test_what_the_host_has_is_not_installed_again(  # type: ignore[no-untyped-def]
    make, wheels: Path, tmp_path: Path
) -> None:
    asked = tmp_path / "asked.txt"
    asked.write_text("salt>=1  # any\n-r more.txt\n")
    (tmp_path / "more.txt").write_text(f"--no-index\n--find-links {wheels.name}\ndish<2\n")
    (tmp_path / wheels.name).symlink_to(wheels)
    ended = make(tmp_path / "out", "--requirements-file", asked).done()
    assert "note: nothing was installed" in ended.stderr
    assert (tmp_path / "out" / "requirements.lock").read_text() == ""
    assert python(tmp_path / "out", "import dish; print(dish.version)") == "1.0"


def test_index_and_packages_named_by_their_place(  # type: ignore[no-untyped-def]
    make, wheels: Path, tmp_path: Path
) -> None:
    index = tmp_path / "index" / "salt"
    index.mkdir(parents=True)
    name = "salt-3.0-py3-none-any.whl"
    (index / name).symlink_to(wheels / name)
    (index / "index.html").write_text(f"<!DOCTYPE html><html><a href='{name}'>{name}</a></html>")
    sugar = (wheels / "sugar-1.0-py3-none-any.whl").as_uri()
    flags = ("--index-url", index.parent.as_uri(), "--requirement", "salt>2")
    make(tmp_path / "out", *flags, "--requirement", f"sugar @ {sugar}").done()
    lines = (tmp_path / "out" / "requirements.lock").read_text().splitlines()
    assert lines[0].startswith("salt==3.0 --hash=sha256:")
    assert lines[1].startswith(f"sugar @ {sugar} --hash=sha256:")
    seen = python(tmp_path / "out", "import salt, sugar; print(salt.version, sugar.version)")
    assert seen == "3.0 1.0"


@pytest.mark.parametrize(
    ("requirements", "code"),
    [
        (["dish==9"], "ART112"),
        (["dish==2.0", "menu"], "ART112"),
        (["dish=2.0"], "ART113"),
        ([f"sugar --hash=sha256:{'0' * 64}"], "ART115"),
    ],
)
def test_what_cannot_be_met(  # type: ignore[no-untyped-def]
    make, wheels: Path, tmp_path: Path, requirements: list[str], code: str
) -> None:
    flags = [f"--requirement={each}" for each in requirements]
    ended = make(tmp_path / "out", *flags, "--no-index", "--find-links", wheels).failed(code)
    assert "\n  pip:\n    | " in ended.stderr


def test_index_out_of_reach_may_be_tried_again(  # type: ignore[no-untyped-def]
    make, tmp_path: Path
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://me:secret@127.0.0.1:{unused.getsockname()[1]}/simple"
        flags = ("--index-url", url, "--requirement", "dish==2.0")
        ended = make(tmp_path / "out", *flags).failed("NET101", status=75)
    assert "secret" not in ended.stderr


def test_python_path_that_hides_a_pin_is_told(  # type: ignore[no-untyped-def]
    make, host: Path, wheels: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(wheels / "salt-1.0-py3-none-any.whl") as archive:
        archive.extractall(tmp_path / "first")
    flags = ("--requirement=salt==3.0", "--no-index", f"--find-links={wheels}")
    path = f"{tmp_path / 'first'}:{ROOT}"
    ended = make(tmp_path / "out", *flags, PYTHONPATH=path).failed("ART116")
    assert "salt 3.0 is hidden by 1.0" in ended.stderr


def test_python_without_pip_takes_the_one_that_comes_with_python(
    stage: Stage, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not pip._bundled():
        pytest.skip("this Python comes without ensurepip")
    venv.EnvBuilder(symlinks=True).create(tmp_path / "bare")
    bare = tmp_path / "bare" / "bin" / "python"
    flags = ("--requirement=salt==3.0", "--no-index", f"--find-links={wheels}")
    argv = [bare, "-m", "mmtrt.tasks.env", "--output-dir", tmp_path / "out", *flags]
    subprocess.run(argv, env=stage.env, check=True, capture_output=True)
    assert python(tmp_path / "out", "import salt; print(salt.version)") == "3.0"
    monkeypatch.setattr(pip, "_bundled", list)
    with pytest.raises(TaskError, match="this Python has no pip") as caught:
        pip.find_pip(bare, tmp_path)
    assert caught.value.code == "ART110"


def test_pip_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\necho 'pip 22.0.2 from /usr/lib (python 3.10)'\n")
    old.chmod(0o755)
    monkeypatch.setattr(pip, "_bundled", list)
    with pytest.raises(TaskError, match=r"pip 22\.0\.2 is too old"):
        pip.find_pip(old, tmp_path)


def test_output_must_be_fresh(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    flags = ("--output-dir", tmp_path / "out", "--requirement=salt")
    call("env", *flags).failed("ART101")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--requirement=salt", "--no-index"),
        ("--requirement=--index-url=http://evil",),
        ("--requirement=salt\nsugar",),
        ("--requirement= ",),
    ],
)
def test_malformed_flags_exit_2(tmp_path: Path, flags: tuple[str, ...]) -> None:
    assert call("env", "--output-dir", tmp_path / "out", *flags).status == 2
    assert not (tmp_path / "out").exists()


def test_requirements_files_are_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text(
        "# all\nsalt==1 \\\n  --hash=sha256:00\n-rsub/b.txt\nx @ https://h/x.whl#egg=x # why\n"
    )
    (tmp_path / "sub" / "b.txt").write_text("--find-links=../wheels\n-c c.txt\n-i https://i\n")
    (tmp_path / "sub" / "c.txt").write_text("")
    lines = read_files([tmp_path / "a.txt"])
    assert lines == [
        "salt==1   --hash=sha256:00",
        f"--find-links {tmp_path / 'wheels'}",
        f"-c {tmp_path / 'sub' / 'c.txt'}",
        "-i https://i",
        "x @ https://h/x.whl#egg=x",
    ]
    assert options(lines) == [lines[1], lines[3]]


def test_requirements_files_that_cannot_be_pinned(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for text in ("-e .\n", "--editable=.\n", "-r a.txt\n"):
        path.write_text(text)
        call("env", "--output-dir", tmp_path / "out", "--requirements-file", path).failed("ART113")
    path.unlink()
    call("env", "--output-dir", tmp_path / "out", "--requirements-file", path).failed("ART106")
    assert not (tmp_path / "out").exists()


def test_report_becomes_pins() -> None:
    def item(name: str, **more: object) -> dict[str, object]:
        return {"metadata": {"name": name, "version": "1.0+cu1"}, **more}

    archive = {"url": "https://h/b.whl", "archive_info": {"hashes": {"sha256": "00"}}}
    source = {
        "url": "https://h/r",
        "vcs_info": {"vcs": "git", "requested_revision": "v1", "commit_id": "abc"},
        "subdirectory": "sub",
    }
    pins = parse_report(
        {
            "install": [
                item("C_Repo", download_info=source, is_direct=True),
                item("B.Index", download_info=archive, is_direct=False),
                item("a", download_info=archive, is_direct=True),
            ]
        }
    )
    assert pins[1] == Pin("b-index", "1.0+cu1", None, "00")
    assert [pin.line for pin in pins] == [
        "a @ https://h/b.whl --hash=sha256:00",
        "b-index==1.0+cu1 --hash=sha256:00",
        "c-repo @ git+https://h/r@abc#subdirectory=sub",
    ]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("OSError: [Errno 28] No space left on device", "ART105"),
        ("error: subprocess-exited-with-error\nGetting requirements to build wheel", "ART114"),
        ("Retrying after connection broken by 'NewConnectionError'\nNo matching distr", "NET101"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))", "NET106"),
        ("something new", "ART111"),
    ],
)
def test_other_failures_of_pip(said: str, code: str) -> None:
    failure = pip._explain(1, said, said.splitlines())
    assert failure.code == code
    assert failure.fix
    assert failure.exit_code == (75 if code == "NET101" else 1)


def test_path_file_is_read_last() -> None:
    assert (
        max([PATH_FILE, "distutils-precedence.pth", "__editable__.x.pth", "torch.pth"]) == PATH_FILE
    )
