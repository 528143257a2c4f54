"""Records to make pages of, written as the executor writes them."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

NASTY = "<script>alert(1)</script> \"quoted\" & 'more'"


def png(path: Path) -> Path:
    """Write a red pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"\x00\xff\x00\x00"))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + data + chunk(b"IEND", b""))
    return path


def write_record(runs: Path, name: str, *, ended: bool = True, text: str = "red") -> Path:
    record = runs / name
    record.mkdir(parents=True)
    image = png(runs / "red.png")
    logs = record / "staging"
    logs.mkdir()
    (logs / "stderr.log").write_text("exporting\n")
    (logs / "stdout.log").write_text("")
    stages = [
        {"id": "download", "kind": "download", "status": "hit", "needs": [], "reasons": []},
        {"id": "convert", "kind": "convert", "status": "run", "needs": ["download"]},
        {"id": "run", "kind": "run", "status": "run", "needs": ["convert", "download"]},
        {"id": "eval", "kind": "eval", "status": "skip", "needs": [], "skip": "eval.task is unset"},
    ]
    (record / "plan.json").write_text(
        json.dumps(
            {
                "schema": 1,
                "recipe": "llava",
                "variant": "tiny",
                "backend": "native",
                "toolchain": {"name": "native", "version": "onnxruntime 1"},
                "overrides": ["recipe=llava", f"run.prompt={text}"],
                "limits": {
                    "max_batch_size": {"value": 4, "source": "recipe", "because": text},
                    "max_num_tokens": {"value": None, "source": "derived", "because": None},
                },
                "visual_features_per_request": 36,
                "stages": stages,
                "findings": [
                    {"code": "SIZ101", "severity": "warning", "message": text, "fix": "tp=2"}
                ],
            }
        )
    )
    start = {"type": "stage_started", "attempt": 1, "reasons": [], "log": str(logs / "stderr.log")}
    events: list[dict[str, Any]] = [
        {"t": 0.0, "type": "run_started", "stages": ["download", "convert", "run"]},
        {"t": 0.1, "type": "stage_hit", "stage": "download", "kind": "download", "key": "a" * 64,
         "artifact": str(record / "none")},
        {"t": 0.2, **start, "stage": "convert", "kind": "convert", "key": "b" * 64, "argv": ["x"]},
    ]  # fmt: skip
    if ended:
        events += [
            {"t": 2.2, "type": "stage_done", "stage": "convert", "kind": "convert",
             "key": "b" * 64, "seconds": 2.0, "artifact": str(record / "none"),
             "size_bytes": 2048, "peak_rss_bytes": 1 << 20},
            {"t": 2.3, **start, "stage": "run", "kind": "run", "key": "c" * 64,
             "argv": ["python", f"--image-path={image}"]},
            {"t": 2.8, "type": "stage_failed", "stage": "run", "kind": "run", "seconds": 0.5,
             "status": "exit status 1", "last_lines": [], "log": str(logs / "stderr.log"),
             "repeat": f"echo {text}"},
            {"t": 2.9, "type": "run_ended", "status": "failed", "seconds": 2.9},
        ]  # fmt: skip
        result = {
            "schema": 1,
            "status": "failed",
            "seconds": 2.9,
            "stages": [],
            "result": {
                "requests": [{"prompt": text, "images": ["red.png", "gone.png"], "text": text}],
                "timings": {"prefill_ms": 3.5},
            },
            "scores": [{"task": "vqa", "samples": 8, "accuracy": 50.0, "threshold": 60.0,
                        "passed": False}],
        }  # fmt: skip
        (record / "result.json").write_text(json.dumps(result))
    time = "2026-01-02T03:04:05.000+00:00"
    lines = [json.dumps({"time": time, **event}) for event in events]
    (record / "events.jsonl").write_text("\n".join(lines) + "\n")
    return record


def sweep_results(text: str = "red") -> dict[str, Any]:
    points = []
    for i, (quant, tp) in enumerate((q, t) for q in ("none", "int8_wo", "int4_wo") for t in (1, 2)):
        failed = i == 3
        points.append(
            {
                "id": str(i),
                "overrides": {"quant": quant, "tp": tp},
                "recipe": "llava",
                "status": "failed" if failed else "done",
                "limits": {"max_batch_size": {"value": 4}},
                "engine_bytes": None if failed else (6 - i) << 20,
                "build_seconds": 10.0 + i,
                "prefill_ms": None if failed else 5.0 - i / 2,
                "decode_tokens_per_s": None if failed else 100.0 + 7 * i,
                "accuracy": None if failed else 99.0 - i,
                "peak_rss_bytes": 1 << 30,
                "hits": 2,
                "stages": 6,
                "pareto": i in (0, 4, 5),
                "answers": [text],
                "error": text if failed else None,
            }
        )
    return {"schema": 1, "name": "llava sweep", "varied": ["quant", "tp"], "points": points}
