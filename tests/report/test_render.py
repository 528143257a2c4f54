from __future__ import annotations

import json
from pathlib import Path

from mmtrt.report.collect import Report, StageRow
from mmtrt.report.render import to_json, to_markdown
from tests.golden_text import check

GOLDEN = Path(__file__).parent / "golden"

REPORT = Report(
    run="outputs/runs/20260102T030405Z-llava",
    recipe="llava",
    variant="tiny",
    backend="native",
    toolchain={"name": "native", "version": "onnxruntime 1.23.0"},
    overrides=("recipe=llava", "variant=tiny", "run.prompt=What | is it?"),
    started="2026-01-02T03:04:05.678+00:00",
    seconds=75.4,
    status="failed",
    stages=(
        StageRow(
            id="download",
            kind="download",
            status="hit",
            seconds=0.0,
            size_bytes=5 << 20,
            key="0123456789abcdef" * 4,
        ),
        StageRow(
            id="llm",
            kind="build_llm",
            status="done",
            seconds=61.2,
            size_bytes=7 << 20,
            peak_rss_bytes=3 << 30,
            key="fedcba9876543210" * 4,
            reasons=("max_batch_size: 4 -> 2", "a|b"),
            attempts=2,
        ),
        StageRow(
            id="run",
            kind="run",
            status="failed",
            seconds=0.4,
            reasons=("exit status 3",),
            logs=("store/.failed/run-1/stderr.log",),
            repeat="python -m mmtrt.native.run --input-text='`x`'",
        ),
    ),
    limits={
        "max_batch_size": {"value": 4, "source": "recipe", "because": "stated by the recipe"},
        "max_num_tokens": {"value": None, "source": "derived", "because": "not stated"},
    },
    features_per_request=36,
    findings=(
        {
            "code": "MDL101",
            "severity": "warning",
            "message": "revision main may move",
            "at": "recipes/recipe/llava.yaml:55:5",
            "why": "another commit gives another model",
            "fix": 'model.revision="abc"',
        },
    ),
    results=(
        {"prompt": "What `is`\nit?", "images": ["/a/b/red.png"], "text": "red\n```\nfence"},
        {"prompt": "`", "images": [], "text": ""},
    ),
    timings={"vision_ms": 3.14159, "prefill_ms": 12, "other": None},
    host={
        "hostname": "box",
        "system": "Linux x86_64",
        "python": "3.11.7",
        "cpus": 4,
        "ram_bytes": 16 << 30,
        "gpus": [
            {"name": "NVIDIA H100", "uuid": "GPU-1", "sm": 90, "memory_bytes": 80 << 30},
            {"name": "NVIDIA H100", "uuid": "GPU-2", "sm": 90, "memory_bytes": 80 << 30},
        ],
    },
)


def test_markdown_is_as_recorded():
    check(GOLDEN / "report.md", to_markdown(REPORT))


def test_json_is_plain_data():
    document = json.loads(json.dumps(to_json(REPORT)))
    assert document["schema"] == 1
    assert document["stages"][1]["reasons"] == ["max_batch_size: 4 -> 2", "a|b"]
    assert document["limits"]["max_batch_size"]["source"] == "recipe"


def test_a_bare_report_has_no_empty_sections():
    text = to_markdown(Report(run="x", recipe="llava"))
    assert text == "# llava: interrupted\n\n| | |\n|---|---|\n| record | `x` |\n"
