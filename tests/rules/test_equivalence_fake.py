"""``check`` accepts a workload if and only if the stand-ins of TensorRT-LLM's tools carry it out.

Limits are drawn around what the workload needs, so that about half of the cases contradict. The
request is the workload itself: as many pictures of that size, words and new tokens.
"""

from __future__ import annotations

import random
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmtrt.artifacts.store import Store
from mmtrt.executor.loop import execute
from mmtrt.host import HostInfo, probe
from mmtrt.plan.build import make_plan
from mmtrt.rules.check import CheckedPlan, find
from tests.worlds import recipe

QUICK, CASES = 2, 20
"""For each recipe: the first ones that lie on both sides, and all of them."""

FAMILIES: dict[str, dict[str, Any]] = {
    "llava": {"pairs": True},
    "blip2": {},
    "kosmos2": {},
    "vila": {"pairs": True},
    "llava_next": {"sizes": [(336, 336), (480, 640), (672, 672), (300, 1200)]},
    "llava_onevision": {"sizes": [(384, 384), (480, 640), (720, 1280)]},
    "phi3_vision": {"sizes": [(336, 336), (480, 640), (1000, 1000)]},
}


def png(path: Path, height: int, width: int) -> Path:
    """Write a black picture."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checked = name + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * ((width + 1) * height))
    body = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> dict[tuple[int, int], str]:
    place = tmp_path_factory.mktemp("pictures")
    sizes = {size for options in FAMILIES.values() for size in options.get("sizes", [(336, 336)])}
    return {(h, w): str(png(place / f"{h}x{w}.png", h, w)) for h, w in sizes}


def workload(
    draw: random.Random, name: str, pictures: dict[tuple[int, int], str]
) -> dict[str, Any]:
    """Return a workload and the request that is just that."""
    options = FAMILIES[name]
    size = draw.choice(options.get("sizes", [(336, 336)]))
    batch, new = draw.choice([1, 1, 2, 3]), draw.choice([1, 8, 30])
    words = draw.choice([1, 4, 12, 41])
    count = batch if options.get("pairs") else 1
    texts, images = [" ".join(["word"] * words)] * count, [pictures[size]] * count
    return {
        "workload__batch_size": batch,
        "workload__image_size": list(size),
        "workload__text_tokens": words,
        "workload__max_new_tokens": new,
        "run__batch_size": batch,
        "run__prompt": texts if count > 1 else texts[0],
        "run__image": images if count > 1 else images[0],
        "run__max_new_tokens": new,
    }


def limits(draw: random.Random, name: str, asked: dict[str, Any]) -> dict[str, int]:
    """Return limits near those that the workload needs, now and then too small for it."""
    sizing = recipe(name, backend="fake", **asked).sizing
    batch = max(1, asked["workload__batch_size"] + draw.choice([-1, 0, 0, 0, 1]))
    prompt = sizing.visual_prompt_tokens + asked["workload__text_tokens"] + draw.choice([-1, 0, 5])
    total = prompt + asked["workload__max_new_tokens"] + draw.choice([-1, 0, 0, 5])
    vision = sizing.vision_batch(asked["workload__batch_size"]) + draw.choice([-1, 0, 0, 2])
    return {
        "max_batch_size": batch,
        "max_multimodal_len": batch * sizing.features_per_request + draw.choice([-1, 0, 0, 0, 9]),
        "max_input_len": max(prompt, 2),
        "max_seq_len": max(total, 3),
        "vision__max_batch_size": max(1, vision),
    }


def outcome(asked: Any, host: HostInfo, store: Store) -> tuple[list[str], str | None]:
    """Return the codes of the errors that ``check`` finds, and the stage that really fails."""
    plan = make_plan(asked, host)
    codes = [finding.code for finding in find(plan) if finding.severity == "error"]
    result = execute(CheckedPlan(plan, ()), store)
    failed = [stage.id for stage in result.stages if stage.status == "failed"]
    return codes, failed[0] if failed else None


@pytest.mark.parametrize("cases", [QUICK, pytest.param(CASES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FAMILIES)
def test_check_accepts_what_runs_and_nothing_else(name, cases, pictures, tmp_path):
    draw = random.Random(name)
    host, store = replace(probe(), gpus=()), Store(tmp_path / "store")
    accepted = refused = 0
    wrong = []
    for number in range(2 * CASES):
        if number >= cases and accepted and refused:
            break
        asked = workload(draw, name, pictures)
        chosen = limits(draw, name, asked)
        codes, failed = outcome(recipe(name, backend="fake", **chosen, **asked), host, store)
        accepted += not codes
        refused += bool(codes)
        if bool(codes) is (failed is None):
            wrong.append((chosen, asked, codes, failed))
    assert not wrong, "\n".join(map(str, wrong))
    assert accepted and refused, "the cases must lie on both sides"
