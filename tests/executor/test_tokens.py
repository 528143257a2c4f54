"""Leases: GPUs are exclusive between processes too, memory is shared out, lines have an end."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

from mmtrt.backends.base import Command, Resources
from mmtrt.executor.environment import environment
from mmtrt.executor.tokens import Lease, Tokens
from mmtrt.host import Gpu
from tests.worlds import HOST, ROOT

TWO_GPUS = replace(HOST, gpus=tuple(Gpu(i, "H100", f"GPU-{i}", 90, 80 << 30) for i in range(2)))
ONE = Resources(gpus=1)


def test_gpus_are_leased_by_uuid_and_come_back(tmp_path):
    tokens = Tokens(TWO_GPUS, tmp_path)
    first, second = tokens.take(ONE), tokens.take(ONE)
    assert first is not None and second is not None
    assert {first.gpus, second.gpus} == {("GPU-0",), ("GPU-1",)}
    assert tokens.take(ONE) is None
    tokens.give_back(first)
    again = tokens.take(ONE)
    assert again is not None and again.gpus == first.gpus


def test_two_gpus_are_leased_together_or_not_at_all(tmp_path):
    tokens = Tokens(TWO_GPUS, tmp_path)
    one = tokens.take(ONE)
    assert tokens.take(Resources(gpus=2)) is None
    tokens.give_back(one)
    both = tokens.take(Resources(gpus=2))
    assert both is not None and both.gpus == ("GPU-0", "GPU-1")


def test_lease_holds_against_other_processes_and_dies_with_its_holder(tmp_path):
    program = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from tests.executor.test_tokens import ONE, TWO_GPUS
from mmtrt.executor.tokens import Tokens
leases = [Tokens(TWO_GPUS, Path({str(tmp_path)!r})).take(ONE) for _ in range(2)]
print("held", flush=True)
time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    assert Tokens(TWO_GPUS, tmp_path).take(ONE) is None
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert Tokens(TWO_GPUS, tmp_path).take(ONE) is not None


def test_memory_is_shared_out_but_a_large_stage_may_run_alone(tmp_path):
    tokens = Tokens(HOST, tmp_path)
    half = Resources(ram_bytes=HOST.ram_bytes // 2 + 1)
    first = tokens.take(half)
    assert first is not None
    assert tokens.take(half) is None
    tokens.give_back(first)
    assert tokens.take(Resources(ram_bytes=HOST.ram_bytes * 2)) is not None


def test_jobs_end_the_line(tmp_path):
    tokens = Tokens(HOST, tmp_path, jobs=1)
    lease = tokens.take(Resources())
    assert tokens.is_full and tokens.take(Resources()) is None
    tokens.give_back(lease)
    assert not tokens.is_full


def test_what_a_host_lacks_is_said(tmp_path):
    assert Tokens(HOST, tmp_path).lacks(ONE) == "it needs 1 GPU(s), this host shows 0"
    assert Tokens(TWO_GPUS, tmp_path).lacks(ONE) is None


def test_stage_sees_its_gpus_and_no_secret_that_it_was_not_promised():
    base = {"PATH": "/bin", "HF_TOKEN": "hf_secret", "AWS_SECRET_ACCESS_KEY": "x", "LC_ALL": "C"}
    plain = environment(Command(argv=("true",)), Lease(gpus=("GPU-1",)), base)
    assert plain["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    assert plain["HF_HUB_OFFLINE"] == "1"
    assert (plain["PATH"], plain["LC_ALL"]) == ("/bin", "C")
    assert not {"HF_TOKEN", "AWS_SECRET_ACCESS_KEY"} & plain.keys()
    online = Command(
        argv=("true",), pass_env=("HF_TOKEN",), resources=Resources(network=True), env={"A": "1"}
    )
    promised = environment(online, Lease(), base)
    assert promised["HF_TOKEN"] == "hf_secret"
    assert promised["A"] == "1"
    assert not {"HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES", "AWS_SECRET_ACCESS_KEY"} & promised.keys()


def test_example_scripts_may_import_their_neighbours():
    """TensorRT-LLM's ``run.py`` does ``from utils import ...``; mmtrt's own modules must not."""
    from mmtrt.backends.base import Python, Script

    script = Command(argv=(Python(), Script("/examples", "models/core/multimodal/run.py")))
    module = Command(argv=(Python(), "-m", "mmtrt.tasks.assemble"))
    assert "PYTHONSAFEPATH" not in environment(script, Lease(), {})
    assert environment(module, Lease(), {})["PYTHONSAFEPATH"] == "1"
