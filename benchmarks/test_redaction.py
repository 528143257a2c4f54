"""Time of taking credentials out of a log, in this process: ``python -m pytest benchmarks``."""

from __future__ import annotations

from mmtrt.executor.logs import CHUNK_BYTES, Filter
from mmtrt.redaction import Redactor

LINE = b"[11/23/2026-16:00:00] [TRT-LLM] [I] tactic 0x12 took 1.223 ms for conv_7\n"


def test_redact_64_kib_of_a_log(benchmark):
    data = (LINE * (CHUNK_BYTES // len(LINE) + 1))[:CHUNK_BYTES]
    stream = Filter(Redactor(["planted-secret-value", "another-planted-one"]))
    assert benchmark(stream.feed, data)
