"""Just within a bound and just beyond: a rule flags from where the tool begins to fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmtrt.host import Gpu
from mmtrt.rules.codes import RULES
from mmtrt.rules.host import disk_short
from tests.rules.test_rules import plan_of
from tests.worlds import HOST

TRT = "recipe=llava backend=trtllm"
HEADS = "recipe=llava_next variant=mistral_7b recipe.variants.mistral_7b.facts.num_key_value_heads"
EXPERTS = f"{TRT} tp=4 recipe.stages.convert.flags="


def flags(code: str, line: str, host=HOST) -> bool:
    return any(f.code == code for f in RULES[code].check(plan_of(line.split(), host)))


@pytest.mark.parametrize(
    ("code", "within", "beyond"),
    [
        # 576 rows of the picture, one token of text, 30 new ones.
        (
            "SIZ104",
            f"{TRT} max_input_len=577 max_seq_len=607",
            f"{TRT} max_input_len=577 max_seq_len=606",
        ),
        (
            "SIZ104",
            "recipe=blip2 variant=flan_t5_xl run.max_new_tokens=9 max_seq_len=10",
            "recipe=blip2 variant=flan_t5_xl run.max_new_tokens=9 max_seq_len=9",
        ),
        (
            "SIZ108",
            "recipe=mllama variant=11b_instruct max_encoder_input_len=6404",
            "recipe=mllama variant=11b_instruct max_encoder_input_len=6403",
        ),
        # 32 rows of the Q-Former and a token of text.
        (
            "SIZ108",
            "recipe=blip2 variant=flan_t5_xl max_encoder_input_len=33",
            "recipe=blip2 variant=flan_t5_xl max_encoder_input_len=32",
        ),
        # 32 heads; TensorRT-LLM repeats key-value heads where ranks are a multiple of them.
        ("PAR101", f"{HEADS}=8 tp=16", f"{HEADS}=12 tp=16"),
        ("PAR101", f"{HEADS}=2 tp=8", f"{HEADS}=3 tp=8"),
        ("PAR101", f"{HEADS}=12 tp=4", f"{HEADS}=6 tp=4"),
        ("PAR104", EXPERTS + "{moe_tp_size:2,moe_ep_size:2}", EXPERTS + "{moe_tp_size:2}"),
        ("PAR104", EXPERTS + "{moe_ep_size:4}", EXPERTS + "{moe_ep_size:8}"),
    ],
)
def test_just_beyond_and_just_within(code, within, beyond):
    assert not flags(code, within)
    assert flags(code, beyond)


@pytest.mark.parametrize(("gib", "is_short"), [((80, 80), False), ((80, 8), True), ((8, 80), True)])
def test_the_smallest_gpu_must_hold_a_rank(gib, is_short):
    gpus = tuple(Gpu(i, "GPU", f"GPU-{i}", 90, size << 30) for i, size in enumerate(gib))
    assert flags("HST105", TRT, replace(HOST, gpus=gpus)) is is_short


@pytest.mark.parametrize(("free_gb", "is_short"), [(20, True), (25, True), (26, False)])
def test_nine_tenths_of_checkpoint_and_engine_must_find_room(monkeypatch, free_gb, is_short):
    # 7,063,427,072 weights of two bytes, once as checkpoint and once as engine: 28.3 GB.
    monkeypatch.setattr(disk_short, "free_bytes", lambda plan: int(free_gb * 1e9))
    assert flags("HST107", TRT) is is_short
