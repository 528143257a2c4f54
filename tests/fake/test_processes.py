"""What only real processes show: shims, mpirun, the server, start-up."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmtrt.fake import container, mpirun
from mmtrt.fake.tools import TOOLS
from tests.fake.conftest import Workshop
from tests.fake.readme import SCENARIOS
from tests.ports import reserved_port
from tests.waiting import LIMIT_S, wait_until

OPTIONS = """\
cuda_graph_config: null
attn_backend: "FLASHINFER"
enable_chunked_prefill: false   # as the README has it
kv_cache_config:
  enable_block_reuse: false
"""


def environment(directory: Path, **settings: object) -> dict[str, str]:
    """Return an environment in which the container's tools are found first."""
    path = f"{directory / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "MMTRT_FAKE": json.dumps(settings)}


@pytest.fixture
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in of the container, in a path that a shell would misread."""
    directory = tmp_path_factory.mktemp("box") / "it's a box"
    container.write(directory)
    return directory


def test_container_has_every_script(box: Path) -> None:
    for tool in TOOLS:
        if tool.endswith(".py"):
            assert (box / "examples" / tool).is_file()
    assert {p.name for p in (box / "bin").iterdir()} == {"trtllm-build", "trtllm-serve", "mpirun"}


def test_scripts_and_executables_run(box: Path, workshop: Workshop) -> None:
    scenario = SCENARIOS["llava"]
    workshop.set_up(scenario)
    env = environment(box, family="llava", facts=scenario.facts)
    script = box / "examples" / "models/core/llama/convert_checkpoint.py"
    model = "tmp/hf_models/llava-1.5-7b-hf"
    convert = [sys.executable, str(script), "--model_dir", model, "--output_dir", "a b"]
    subprocess.run(convert, env=env, check=True, capture_output=True)
    build = ["trtllm-build", "--checkpoint_dir", "a b", "--output_dir", "e"]
    subprocess.run(build, env=env, check=True, capture_output=True)
    assert Path("e/rank0.engine").is_file()
    refused = subprocess.run([*build, "--foo"], env=env, capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.endswith("trtllm-build: error: unrecognized arguments: --foo\n")


def test_mpirun_starts_every_rank(box: Path, workshop: Workshop) -> None:
    scenario = SCENARIOS["llava"]
    convert, build, vision, run = workshop.build("llava", until=0)
    for line in (f"{convert} --tp_size 2", build, vision):
        workshop.ok(line)
    words = run.replace("'\\n Which city is this?'", "city?").split()[2:]
    script = str(box / "examples" / "models/core/multimodal/run.py")
    env = environment(box, family="llava", facts=scenario.facts)
    command = ["mpirun", "-n", "2", "--allow-run-as-root", sys.executable, script, *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("[A]: ['singapore']") == 1
    command[2] = "3"
    wrong = subprocess.run(command, env=env, capture_output=True, text=True)
    assert wrong.returncode == 1 and "exit code 1" in wrong.stdout
    assert "worldSize is expected to be equal to tp*pp" in wrong.stderr


def test_mpirun_refuses_root(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.settings()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "attempt to run as root" in workshop.refused("mpirun -n 1 true")
    for name in mpirun.ALLOWING:
        monkeypatch.setenv(name, "1")
    workshop.ok("mpirun -n 1 true")


def test_mpirun_stops_the_others_when_one_fails(workshop: Workshop) -> None:
    workshop.settings()
    script = "sh -c '[ \"$OMPI_COMM_WORLD_RANK\" = 0 ] && exit 7; exec sleep 600'"
    started = time.monotonic()
    workshop.refused(f"mpirun -n 2 --allow-run-as-root -x A=1 {script}", 7)
    assert time.monotonic() - started < LIMIT_S
    assert "unable to find" in workshop.refused("mpirun --allow-run-as-root -n 1 no-such-tool", 2)


@pytest.fixture
def gemma(workshop: Workshop) -> Workshop:
    """A workshop with Gemma 3 and the README's options file."""
    workshop.set_up(SCENARIOS["gemma3"])
    Path("options.yaml").write_text(OPTIONS)
    return workshop


MODEL = "tmp/hf_models/gemma-3-27b-it"


@pytest.fixture
def server(gemma: Workshop, box: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The README's server, started; its port."""
    scenario = SCENARIOS["gemma3"]
    env = environment(box, family="gemma3", facts=scenario.facts)
    command = ["trtllm-serve", MODEL, "--backend", "pytorch", "--tp_size", "1"]
    command += ["--max_batch_size", "4", "--extra_llm_api_options", "options.yaml", "--port"]
    with reserved_port() as port:
        process = subprocess.Popen(
            [*command, str(port)], env=env, stdout=subprocess.PIPE, text=True
        )
        yield process, port
        if process.poll() is None:
            process.kill()
        process.communicate()


def ask(port: int, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    """Ask the server once; wait until it is there."""
    connection = http.client.HTTPConnection("localhost", port, timeout=LIMIT_S)
    wait_until(lambda: reaches(connection))
    connection.request(method, path, body)
    answer = connection.getresponse()
    return answer.status, answer.read()


def reaches(connection: http.client.HTTPConnection) -> bool:
    try:
        connection.connect()
    except ConnectionRefusedError:
        return False
    return True


def test_server(server: tuple[subprocess.Popen[str], int], gemma: Workshop) -> None:
    process, port = server
    assert ask(port, "GET", "/health") == (200, b"")
    chat = json.dumps({"model": "g", "messages": [{"role": "user", "content": "Hello"}]})
    status, body = ask(port, "POST", "/v1/chat/completions", chat)
    answer = json.loads(body)
    assert status == 200 and answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"].startswith("fake answer ")
    assert ask(port, "POST", "/v1/chat/completions", chat) == (status, body)
    assert ask(port, "POST", "/v1/chat/completions", "{")[0] == 400
    assert ask(port, "GET", "/nothing")[0] == 404
    line = f"trtllm-serve {MODEL} --port {port} --extra_llm_api_options options.yaml"
    assert "error while attempting to bind" in gemma.refused(line)
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_S) == 0


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("enable_block_reuse: false", "enable_block_reuse: true", "does not support KV cache re"),
        ("prefill: false", "prefill: true", "does not support chunked prefill"),
        ('"FLASHINFER"', "TRTLLM", "needs attn_backend FLASHINFER, not TRTLLM"),
        ("enable_block_reuse: false", "enable_block_reuse", "could not find expected ':'"),
        (OPTIONS, "", "needs attn_backend FLASHINFER"),
    ],
)
def test_server_refuses_options(gemma: Workshop, before: str, after: str, message: str) -> None:
    Path("options.yaml").write_text(OPTIONS.replace(before, after))
    line = f"trtllm-serve {MODEL} --extra_llm_api_options options.yaml"
    assert message in gemma.refused(line)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--backend trt --config options.yaml", "only supported by the pytorch backend"),
        ("--config nowhere.yaml", "No such file or directory: 'nowhere.yaml'"),
        ("--config options.yaml --enable_chunked_prefill", "does not support chunked prefill"),
        ("--config options.yaml --tp_size 9", "tp_size 9 is larger than 8 GPUs"),
        ("", "needs attn_backend FLASHINFER"),
    ],
)
def test_server_refuses_flags(gemma: Workshop, flags: str, message: str) -> None:
    assert message in gemma.refused(f"trtllm-serve {MODEL} {flags}")


def test_quickstart_refuses_options(gemma: Workshop) -> None:
    start = f"python ../../../llm-api/quickstart_multimodal.py --model_dir {MODEL}"
    assert "needs attn_backend FLASHINFER" in gemma.refused(start)
    start += " --attention_backend FLASHINFER"
    assert "does not support KV cache reuse" in gemma.refused(start)
    start += " --disable_kv_cache_reuse"
    said = gemma.ok(f"{start} --prompt hello --media https://example.org/a.png")
    assert "[0] Prompt: 'hello', Generated text: 'fake answer " in said
    assert "No such file" in gemma.refused(f"{start} --media no.png")


def test_start_up_imports_nothing_heavy(workshop: Workshop) -> None:
    workshop.settings()
    check = (
        "import sys; from mmtrt.fake.tools import main; main(['models/core/multimodal/run.py']); "
        "heavy = {'torch', 'numpy', 'PIL', 'yaml', 'omegaconf', 'hydra', 'mmtrt.backends'}; "
        "sys.exit(str(heavy & sys.modules.keys()) if heavy & sys.modules.keys() else 0)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
