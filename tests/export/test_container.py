"""Scripts for TensorRT-LLM: all are sound bash, and many are run on the stand-in of a container."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from mmtrt.export import to_sh
from mmtrt.plan.build import make_plan
from mmtrt.plan.graph import Plan
from tests.export.standin import StandIn, role
from tests.ports import reserved_port
from tests.waiting import LIMIT_S
from tests.worlds import HOST, RECIPES, ROOT, recipe

NEMO = {"model__path": "/models/neva.nemo", "model__projector": "/models/projector.nemo"}

RUNS = {
    "llava": {},
    "llava_next": {"tp": 2},
    "blip2": {},
    "blip2_t5": {"variant": "flan_t5_xl"},
    "cogvlm": {},
    "deplot": {},
    "internlm_xcomposer2": {},
    "internvl2": {},
    "kosmos2": {},
    "vila": {},
    "phi4_multimodal": {},
    "qwen2_vl": {"tp": 2, "pp": 2},
    "mllama": {"quant": "fp8"},
    "neva": {"model__path": "neva.nemo"},
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory) -> StandIn:
    return StandIn(tmp_path_factory.mktemp("a container's $dir"))


def plan(name: str, **changes) -> Plan:
    return make_plan(recipe(name, backend="trtllm", **changes), HOST)


@cache
def scripts() -> dict[str, str]:
    """Return the script of every recipe, variant, number format and tp."""
    found = {}
    for path in sorted((RECIPES / "recipe").glob("*.yaml")):
        file = yaml.safe_load(path.read_text())
        for variant, entry in file["variants"].items():
            if entry.get("backend") == "native":
                continue
            own = NEMO if "neva" in path.stem else {}
            for quant, options in file["quants"].items():
                if variant not in options.get("variants", [variant]):
                    continue
                for tp in (1, 2):
                    made = recipe(
                        path.stem, variant=variant, quant=quant, tp=tp, backend="trtllm", **own
                    )
                    name = f"{path.stem}-{variant}-{quant}-{tp}.sh"
                    found[name] = to_sh(_plan_of(made))
    return found


def _plan_of(made) -> Plan:
    with pytest.MonkeyPatch.context() as patched:
        # The .nemo files of these recipes are nobody's.
        patched.setattr("mmtrt.plan.build._check_locals", lambda recipe, node: None)
        return make_plan(made, HOST)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scripts")
    for name, text in scripts().items():
        (folder / name).write_text(text)
    return folder


def test_every_recipe_is_there():
    stems = {path.stem for path in (RECIPES / "recipe").glob("*.yaml")}
    assert {name.partition("-")[0] for name in scripts()} == stems
    assert len(scripts()) > 100


def test_every_script_can_be_parsed(written):
    for path in sorted(written.iterdir()):
        done = subprocess.run(["bash", "-n", path], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), path.name


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing(written):
    done = subprocess.run(
        ["shellcheck", *sorted(written.iterdir())], capture_output=True, text=True, timeout=200
    )
    assert done.stdout == ""


def test_no_script_needs_mmtrt():
    for name, text in scripts().items():
        commands = [line for line in text.splitlines() if not line.startswith("#")]
        assert not [line for line in commands if "mmtrt" in line], name


def test_every_script_tells_its_section_of_the_readme():
    heads = [text.split("set -euo pipefail")[0] for text in scripts().values()]
    assert all("examples/models/core/multimodal/README.md" in head for head in heads)
    assert "# NeVA.\n" in to_head("neva-base-none-1.sh")


def to_head(name: str) -> str:
    return scripts()[name].split("set -euo pipefail")[0]


@pytest.mark.parametrize("name", RUNS)
def test_a_recipe_runs_in_the_container(machine, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("neva.nemo").write_text("mmtrt fake nemo\n")
    made = plan(name.removesuffix("_t5"), **RUNS[name])
    if any(node.kind == "env" for node in made.active()):
        pytest.importorskip("pip")
    out = tmp_path / "it's out"
    done = machine.run(made, out)
    assert done.returncode == 0, done.stderr
    assert {path.parent.name for path in out.glob("*/.done")} == {
        node.id for node in made.active() if node.id != "examples"
    }
    (engine,) = (out / "assemble").glob("[!.]*")
    assert list((engine / "vision").rglob("config.json"))
    assert list((engine / "llm").rglob("rank0.engine"))
    assert not list(out.glob("*/.work"))
    again = machine.run(made, out)
    assert (again.returncode, again.stderr) == (0, f"done: {out}\n")


def test_a_script_of_the_stand_ins_runs_where_mmtrt_is(machine, tmp_path):
    made = make_plan(recipe("llava_next", backend="fake", tp=2), HOST)
    assert "interpreter that has mmtrt" in to_sh(made)
    done = machine.run(
        made, tmp_path / "out", PYTHON=sys.executable, PYTHONPATH=str(ROOT), EXAMPLES=None
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("out/assemble/*/llm/rank1.engine"))


def test_the_answer_is_shown(machine, tmp_path):
    done = machine.run(plan("llava_next"), tmp_path / "out")
    assert "[A]: " in done.stdout


def test_the_patch_changes_a_copy(machine, tmp_path):
    out = tmp_path / "out"
    assert machine.run(plan("cogvlm", until="patch"), out).returncode == 0
    (original,), (patched,) = (list(out.glob(f"{s}/*/visual.py")) for s in ("download", "patch"))
    assert "xformers" in original.read_text()
    assert "xformers" not in patched.read_text()
    for name in ("config.json", "model.safetensors"):
        assert (original.parent / name).samefile(patched.parent / name)


def test_a_file_that_looks_otherwise_is_not_patched(machine, tmp_path):
    out = tmp_path / "out"
    assert machine.run(plan("cogvlm", until="download"), out).returncode == 0
    (original,) = out.glob("download/*/visual.py")
    original.write_text(original.read_text() * 2)
    done = machine.run(plan("cogvlm", until="patch"), out)
    assert done.returncode == 1
    assert "visual.py must have this text exactly once:\nimport xformers.ops" in done.stderr
    assert not (out / "patch/.done").exists()


def test_example_scripts_are_fetched_where_none_are_named(machine, tmp_path):
    out = tmp_path / "out"
    done = machine.run(plan("llava"), out, EXAMPLES=None)
    assert done.returncode == 0, done.stderr
    repository = out / "examples/TensorRT-LLM"
    assert [path.name for path in repository.iterdir()] == ["examples"]
    assert machine.run(plan("llava"), out, EXAMPLES=None).stderr == f"done: {out}\n"


def test_a_relative_directory_of_examples_will_do(machine, tmp_path):
    (tmp_path / "my examples").symlink_to(machine.examples)
    done = machine.run(plan("llava", until="convert"), tmp_path / "out", EXAMPLES="my examples")
    assert done.returncode == 0, done.stderr


def test_an_environment_lies_over_the_packages_of_the_interpreter(machine, tmp_path):
    pytest.importorskip("pip")
    out = tmp_path / "out"
    assert machine.run(plan("vila", until="env"), out).returncode == 0
    (python,) = out.glob("env/*/bin/python")
    code = "import tiny_package, pip; print(tiny_package.__file__); print(pip.__file__)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    own, beneath = done.stdout.splitlines()
    assert own.startswith(f"{out}/env/")
    assert beneath.startswith(f"{machine.folder}/python/")


def test_a_download_goes_on_where_it_ended(machine, tmp_path):
    out, made = tmp_path / "out", plan("cogvlm", until="download")
    fails = machine.path_with(tmp_path / "one", "hf", 'case "$*" in *.py*) exit 9 ;; esac')
    assert machine.run(made, out, PATH=fails).returncode == 9
    (weights,) = out.glob("download/*/model.safetensors")
    before = weights.stat().st_mtime_ns
    has_it = machine.path_with(tmp_path / "two", "hf", 'case "$*" in *safe*) exit 0 ;; esac')
    assert machine.run(made, out, PATH=has_it).returncode == 0
    assert weights.stat().st_mtime_ns == before
    assert (weights.parent / "visual.py").exists()


def test_a_local_model_is_linked(machine, tmp_path):
    out, model = tmp_path / "out", tmp_path / "my model"
    (model / "sub").mkdir(parents=True)
    (model / "sub/config.json").write_text("{}")
    made = plan("llava", model__path=str(model), until="download")
    assert machine.run(made, out).returncode == 0
    (linked,) = out.glob("download/*/sub/config.json")
    assert linked.is_symlink() and linked.samefile(model / "sub/config.json")


def test_where_no_hard_link_is_possible_symbolic_ones_do(machine, tmp_path):
    made = plan("llava_next")
    path = machine.path_with(tmp_path, "cp", '[ "$1" != -al ] || exit 1')
    done = machine.run(made, tmp_path / "out", PATH=path)
    assert done.returncode == 0, done.stderr
    (engine,) = (tmp_path / "out/assemble").glob("*/llm/rank0.engine")
    assert engine.is_symlink() and engine.is_file()


@pytest.fixture
def port() -> Iterator[int]:
    with reserved_port() as number:
        yield number
        with socket.socket() as again:  # nothing listens there any more
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", number))


def gemma3(port: int, **changes) -> Plan:
    return plan("gemma3", variant="4b", until="serve", serve__port=port, **changes)


def test_a_server_is_asked_and_stopped(machine, tmp_path, port):
    image = tmp_path / "it's red.png"
    image.write_bytes(b"png")
    made = gemma3(port, run__prompt=["-what's $this?", "and\nthat?"], run__image=str(image))
    done = machine.run(made, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    answers = [line for line in done.stdout.splitlines() if line.startswith("fake answer")]
    assert len(answers) == len(set(answers)) == 2
    again = machine.run(made, tmp_path / "out")
    assert [line for line in again.stderr.splitlines() if line.startswith("==")] == ["== serve"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_held_ends_with_the_script(machine, tmp_path, port, number):
    made = gemma3(port, serve__hold=True)
    process = subprocess.Popen(
        ["bash", "-c", to_sh(made)],
        env=machine.env(tmp_path / "out", role(made)),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    lines = iter(process.stderr.readline, "")
    assert "the server stays until Ctrl-C\n" in lines
    process.send_signal(number)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode in (-number, 128 + number)
    assert not (tmp_path / "out/serve/.done").exists()


def test_a_server_that_ends_early_fails_the_stage(machine, tmp_path, port):
    made = gemma3(port)
    options = tmp_path / "out/options/gemma-3-4b-it"
    options.mkdir(parents=True)
    (options / "extra-llm-api-options.yaml").write_text("no such option: 1\n")
    (options.parent / ".done").touch()
    done = machine.run(made, tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "the server ended before it was ready"


def test_another_server_at_the_port_is_not_asked(machine, tmp_path, port):
    path = machine.path_with(tmp_path, "curl", "exit 0")
    done = machine.run(gemma3(port), tmp_path / "out", PATH=path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"another server is at http://127.0.0.1:{port}"
