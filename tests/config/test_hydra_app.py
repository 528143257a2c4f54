"""Hydra's own switches, in this process and as a program called ``mmtrt``."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mmtrt.config.compose import Composed, compose
from mmtrt.config.hydra_app import run_hydra
from mmtrt.config.overrides import needs_hydra
from mmtrt.config.root import choices, recipes_root
from mmtrt.errors import Interrupted, MmtrtError, RecipeError, StageFailed, UsageError
from tests.config.conftest import MakeUserDir


class Jobs:
    """A task that remembers its jobs."""

    def __init__(self, *outcomes: int | Exception) -> None:
        self.seen: list[Composed] = []
        self.outcomes = list(outcomes)

    def __call__(self, composed: Composed) -> int:
        self.seen.append(composed)
        outcome = self.outcomes.pop(0) if self.outcomes else 0
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> object:
    root = logging.getLogger()

    def state() -> list[object]:
        environment = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
        return [list(sys.argv), root.level, Path.cwd(), environment]

    before, handlers = state(), list(root.handlers)
    yield
    assert state() == before
    assert {type(each) for each in root.handlers} == {type(each) for each in handlers}
    assert {path.name for path in Path.cwd().iterdir()} <= {"my"}


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["recipe=llava", "tp=2"], False),
        (["recipe=llava", "-cd", "my"], False),
        (["--json", "recipe=llava"], False),
        ([], False),
        (["-m", "recipe=llava"], True),
        (["recipe=llava", "--multirun"], True),
        (["--cfg", "job"], True),
        (["--cfg=job"], True),
        (["-c", "job"], True),
        (["--info"], True),
        (["-sc", "install=bash"], True),
        (["--shell-completion", "query=zsh"], True),
        (["--hydra-help"], True),
        (["recipe=llava", "hydra/launcher=joblib"], True),
        (["recipe=llava", "+hydra.job.name=x"], True),
        (["-cn", "night"], True),
        (["-cn", "config"], False),
    ],
)
def test_needs_hydra(argv: list[str], expected: bool) -> None:
    assert needs_hydra(argv) is expected


def test_plain_run_with_an_override_of_hydra() -> None:
    jobs = Jobs()
    assert run_hydra(["recipe=llava", "tp=2", "hydra.job.name=x"], jobs) == 0
    (job,) = jobs.seen
    assert job.settings == compose(["recipe=llava", "tp=2"]).settings
    assert job.overrides == ("recipe=llava", "tp=2")
    assert job.where(("tp",)) == "override 'tp=2'"


def test_sweep(capfd: pytest.CaptureFixture[str]) -> None:
    jobs = Jobs()
    assert run_hydra(["-m", "recipe=llava", "tp=1,2", "quant.calib_size=8,16"], jobs) == 0
    assert [(job.settings.tp, job.settings.quant.calib_size) for job in jobs.seen] == [
        (1, 8),
        (1, 16),
        (2, 8),
        (2, 16),
    ]
    assert jobs.seen[1].overrides == ("recipe=llava", "tp=1", "quant.calib_size=16")
    assert jobs.seen[1].where(("quant", "calib_size")) == "override 'quant.calib_size=16'"
    assert capfd.readouterr() == ("", "")


def test_sweep_with_a_launcher_and_a_directory(tmp_path: Path) -> None:
    jobs = Jobs()
    words = ["-m", "recipe=llava", "hydra/launcher=basic", f"hydra.sweep.dir={tmp_path}/sweep"]
    assert run_hydra([*words, "tp=1,2"], jobs) == 0
    assert len(jobs.seen) == 2
    assert (tmp_path / "sweep/multirun.yaml").is_file()


def test_value_that_depends_on_the_job() -> None:
    jobs = Jobs()
    words = ["recipe=llava", "tp=1,2", 'until="s${hydra:job.num}"']
    assert run_hydra(["-m", *words], jobs) == 0
    assert [job.settings.until for job in jobs.seen] == ["s0", "s1"]


def test_sweep_of_a_user(user_dir: MakeUserDir) -> None:
    jobs = Jobs()
    assert run_hydra(["-m", "-cd", str(user_dir()), "recipe=mine,llava"], jobs) == 0
    assert jobs.seen[0].settings.recipe.title == "Mine"


def test_sweep_is_checked_before_its_first_job() -> None:
    jobs = Jobs()
    with pytest.raises(RecipeError) as caught:
        run_hydra(["-m", "recipe=llava,lava", "tp=1,x", "dtype=fp16"], jobs)
    assert jobs.seen == []
    assert [caught.value.at, *(error.at for error in caught.value.also)] == [
        "override 'dtype=fp16'",
        "override 'tp=x'",
        "override 'recipe=lava'",
    ]


def test_first_exit_code_of_a_sweep() -> None:
    jobs = Jobs(0, 3, 1)
    assert run_hydra(["-m", "recipe=llava", "tp=1,2,4"], jobs) == 3
    assert len(jobs.seen) == 3


def test_failed_job_does_not_stop_the_others(capfd: pytest.CaptureFixture[str]) -> None:
    jobs = Jobs(StageFailed("one"), 0, StageFailed("three"))
    with pytest.raises(StageFailed, match="one") as caught:
        run_hydra(["-m", "recipe=llava", "tp=1,2,4"], jobs)
    assert [error.message for error in caught.value.also] == ["three"]
    assert len(jobs.seen) == 3
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("error", [Interrupted("stop"), ZeroDivisionError("a bug")])
def test_interrupt_and_bug_stop_a_sweep(
    error: Exception, capfd: pytest.CaptureFixture[str]
) -> None:
    jobs = Jobs(error)
    with pytest.raises(type(error)) as caught:
        run_hydra(["-m", "recipe=llava", "tp=1,2,4"], jobs)
    assert caught.value is error
    assert len(jobs.seen) == 1
    assert capfd.readouterr() == ("", "")


def test_keyboard_interrupt_stops_a_sweep() -> None:
    def task(composed: Composed) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_hydra(["-m", "recipe=llava", "tp=1,2"], task)


def test_job_may_compose_another_recipe() -> None:
    other = choices("recipe", [recipes_root()])[-1]

    def task(composed: Composed) -> int:
        assert compose([f"recipe={other}", "tp=8"]).settings.tp == 8
        return 0

    assert run_hydra(["-m", "recipe=llava", "tp=1,2"], task) == 0


def test_cfg(capsys: pytest.CaptureFixture[str], user_dir: MakeUserDir) -> None:
    root = str(user_dir())
    assert run_hydra(["--cfg", "job", "-p", "quant", "-cd", root, "recipe=mine"], Jobs()) == 0
    assert capsys.readouterr().out == "# @package quant\nname: none\n"
    assert run_hydra(["-c", "job", "--config-dir", root, "recipe=mine", "tp=2"], Jobs()) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["tp"] == 2
    assert shown["recipe"]["title"] == "Mine"
    assert shown["paths"]["store"].startswith("${oc.env:")
    assert run_hydra(["--cfg", "hydra", "recipe=llava"], Jobs()) == 0
    shown = yaml.safe_load(capsys.readouterr().out)["hydra"]
    assert shown["job"]["name"] == "mmtrt"
    assert shown["output_subdir"] is None
    assert run_hydra(["--cfg", "all", "recipe=llava"], Jobs()) == 0


def test_cfg_of_an_unknown_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_hydra(["--cfg", "job", "-p", "nope", "recipe=llava"], Jobs()) == 2
    assert "package 'nope' not found" in capsys.readouterr().err


@pytest.mark.parametrize("what", [[], ["defaults"], ["defaults-tree"], ["config"], ["searchpath"]])
def test_info(what: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_hydra(["--info", *what, "recipe=llava"], Jobs()) == 0
    assert capsys.readouterr().out


def test_info_about_a_user(user_dir: MakeUserDir, capsys: pytest.CaptureFixture[str]) -> None:
    root = user_dir()
    assert run_hydra(["-i", "searchpath", "-cd", "my", "recipe=mine"], Jobs()) == 0
    assert f"| mmtrt    | file://{root}" in capsys.readouterr().out


def test_info_without_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_hydra(["--info", "plugins"], Jobs()) == 0
    assert "BasicSweeper" in capsys.readouterr().out


def test_hydra_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_hydra(["--hydra-help"], Jobs()) == 0
    assert "Hydra" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--cfg", "foo"], "--cfg takes job, hydra, all, not 'foo'"),
        (["--cfg"], "--cfg takes job, hydra, all, not ''"),
        (["--cfg", "job", "-m"], "--multirun and --cfg do not go together"),
        (["--resolve", "recipe=llava"], "--resolve goes with --cfg only"),
        (["-m", "plan", "recipe=llava"], "'plan' does not go with Hydra's switches"),
        (["-m", "--json", "recipe=llava"], "'--json' does not go with Hydra's switches"),
    ],
)
def test_usage(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        run_hydra(argv, Jobs())
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--cfg", "job"], "CFG103"),
        (["--cfg", "job", "recipe=lava"], "CFG106"),
        (["--cfg", "job", "recipe=llava", "tpp=2"], "CFG102"),
        (["--info", "recipe=llava", "tp=["], "CFG108"),
        (["recipe=llava", "hydra/launcher=nope"], "CFG106"),
        (["recipe=llava", "hydra.nope=1"], "CFG102"),
        (["-m", "recipe=llava", "hydra/sweeper=nope", "tp=1,2"], "CFG106"),
        (["-m", "recipe=llava", "tp=interval(1,2)"], "CFG100"),
        (["-m", "recipe=llava", "tp=glob(*)"], "CFG108"),
        (["--config-path", "nowhere"], "CFG100"),
        (["--cfg", "job", "-cd", "nowhere", "recipe=llava"], "CFG107"),
    ],
)
def test_mistakes_are_told_as_everywhere(argv: list[str], code: str) -> None:
    jobs = Jobs()
    with pytest.raises(MmtrtError) as caught:
        run_hydra(argv, jobs)
    assert caught.value.code == code, caught.value.render()
    assert "\n  why: " in caught.value.render() or "\n  fix: " in caught.value.render()
    assert jobs.seen == []


def test_completion_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_hydra(["-sc", "install=bash"], Jobs()) == 0
    assert capsys.readouterr().out.endswith("-F hydra_bash_completion mmtrt\n")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mmtrt rec", "recipe="),
        ("mmtrt recipe=llava variant=t", "variant=tiny"),
        ("mmtrt plan --json recipe=llava dtype=fl", "dtype=float16 dtype=float32"),
        ("mmtrt recipe=llava backend=nat", "backend=native"),
        ("mmtrt recipe=llava hydra/laun", "hydra/launcher="),
        ("mmtrt plan --json recipe=llava hydra/output=", "hydra/output=default"),
        ("mmtrt recipe=llava tp=", "tp=1"),
        ("mmtrt recipe=lava zzz", ""),
        ("mmtrt recipe=[ zzz", ""),
    ],
)
def test_completion_query(
    line: str,
    expected: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("COMP_LINE", line)
        assert run_hydra(["-sc", "query=bash"], Jobs()) == 0
    out, err = capfd.readouterr()
    assert out.strip() == expected
    assert err == ""


def test_completion_for_fish(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("COMP_LINE", "mmtrt recipe=llava dtype=fl")
        run_hydra(["-sc", "query=fish"], Jobs())
    assert capsys.readouterr().out == "dtype=float16\ndtype=float32\n"


PROGRAM = """\
import sys
from mmtrt.config.hydra_app import run_hydra
sys.exit(run_hydra(sys.argv[1:], lambda composed: print(composed.settings.tp) or 0))
"""


def program(tmp_path: Path, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "mmtrt"
    script.write_text(PROGRAM)
    path = {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [sys.executable, "-W", "always", str(script), *argv],
        capture_output=True,
        text=True,
        env={**os.environ, **path, **env},
    )


def test_completion_of_recipes_in_a_shell(tmp_path: Path) -> None:
    done = program(tmp_path, "-sc", "query=bash", COMP_LINE="mmtrt recipe=")
    known = choices("recipe", [recipes_root()])
    assert done.stdout == " ".join(f"recipe={name}" for name in known) + "\n"
    assert (done.stderr, done.returncode) == ("", 0)


def test_program_leaves_no_trace(tmp_path: Path) -> None:
    done = program(tmp_path, "-m", "recipe=llava", "tp=1,2")
    assert (done.stdout, done.stderr, done.returncode) == ("1\n2\n", "", 0)
    done = program(tmp_path, "recipe=llava", "hydra.verbose=false")
    assert (done.stdout, done.stderr, done.returncode) == ("1\n", "", 0)
    assert list(Path.cwd().iterdir()) == []


def test_bash_evaluates_the_script(tmp_path: Path) -> None:
    done = program(tmp_path, "-sc", "install=bash")
    checked = subprocess.run(["bash", "-n"], input=done.stdout, text=True, capture_output=True)
    assert checked.stderr == ""
