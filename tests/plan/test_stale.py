"""Reasons: what changed between two key documents, in the words that people use."""

from __future__ import annotations

import copy

import pytest

from mmtrt.plan.stale import comparable, differences, reasons_between

OLD = {
    "schema": 1,
    "kind": "build_llm",
    "stage_version": 1,
    "model": "llava",
    "argv": ["{python}", "--max-batch-size", "1", "--plugins", "gemm", "nccl"],
    "env": {},
    "cwd": None,
    "inputs": {"{in.checkpoint}/llm": "a" * 64},
    "toolchain": {"backend": "native", "versions": {"onnx": "1.23.2", "torch": "2.13.0"}},
    "gpu": {"sm": 90},
}


def words(*flags: str) -> list[str]:
    return ["{python}", *flags]


def changed(path: str, value) -> dict:
    new = copy.deepcopy(OLD)
    place = new
    *above, last = path.split("|")
    for name in above:
        place = place[name]
    place[last] = value
    return new


@pytest.mark.parametrize(
    ("path", "value", "kind", "sentence"),
    [
        (
            "argv",
            words("--max-batch-size", "8", "--plugins", "gemm", "nccl"),
            "param_changed",
            "max_batch_size: 1 -> 8",
        ),
        (
            "argv",
            [*OLD["argv"], "--max-num-tokens", "64"],
            "param_changed",
            "max_num_tokens: none -> 64",
        ),
        ("argv", [*OLD["argv"], "--use_fp8"], "param_changed", "use_fp8: none -> True"),
        ("model", "vila", "param_changed", "model: llava -> vila"),
        (
            "inputs|{in.checkpoint}/llm",
            "b" * 64,
            "input_changed",
            "input checkpoint/llm has other content (aaaaaaaa -> bbbbbbbb)",
        ),
        ("toolchain|versions|torch", "2.14", "tool_changed", "tool torch: 2.13.0 -> 2.14"),
        ("toolchain|backend", "trtllm", "tool_changed", "tool backend: native -> trtllm"),
        ("gpu|sm", 89, "gpu_changed", "GPU sm: 90 -> 89"),
        ("stage_version", 2, "stage_version_changed", "stage version: 1 -> 2"),
        ("env", {"A": "1"}, "command_changed", "command env.A: none -> 1"),
        ("cwd", "{out}", "command_changed", "command cwd: none -> {out}"),
    ],
)
def test_each_change_has_its_reason(path, value, kind, sentence):
    (reason,) = reasons_between(OLD, changed(path, value))
    assert (reason.type, reason.sentence()) == (kind, sentence)
    assert reason.to_json()["type"] == kind


def test_command_is_named_only_where_nothing_else_explains_it():
    new = changed("argv", ["{python}", "other", "--max_batch_size=8", "--plugins", "gemm", "nccl"])
    assert [reason.type for reason in reasons_between(OLD, new)] == ["param_changed"]


@pytest.mark.parametrize(
    ("argv", "field"),
    [
        (["{python}", "other", *OLD["argv"][1:]], "program"),
        (words("--max_batch_size", "1", "--plugins", "gemm", "nccl"), "argv"),
        (words("--plugins", "gemm", "nccl", "--max-batch-size", "1"), "argv"),
    ],
)
def test_words_are_named_where_no_flag_differs(argv, field):
    (reason,) = reasons_between(OLD, changed("argv", argv))
    assert (reason.type, reason.to_json()["field"]) == ("command_changed", field)
    assert comparable(OLD, changed("argv", argv)) != comparable(OLD, OLD)


def test_equal_documents_differ_in_nothing():
    assert list(differences(OLD, copy.deepcopy(OLD))) == []
    assert reasons_between(OLD, copy.deepcopy(OLD)) == []
