"""What ``tp`` changes in a plan of native stages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mmtrt.config.compose import compose
from mmtrt.config.recipe import resolve
from mmtrt.host import Gpu
from mmtrt.plan.build import make_plan
from mmtrt.plan.keys import key_document
from mmtrt.rules.check import find
from tests.worlds import HOST

TWO_GPUS = tuple(Gpu(i, "H100", f"GPU-{i}", 90, 80 << 30) for i in range(2))
CPU = replace(HOST, gpus=())
GPUS = replace(HOST, gpus=TWO_GPUS, torch_cuda="12.8")


def plan_of(*words: str, host: Any = CPU) -> Any:
    words = ("recipe=llava_next", "variant=tiny", "backend=native", *words)
    composed = compose(list(words))
    return make_plan(resolve(composed.settings, words, composed.where), host)


def documents(plan: Any) -> dict[str, Any]:
    """Return what is hashed into each key, as if all inputs were the same."""
    found = {}
    for node in plan.active():
        if node.command is not None:
            inputs = {place.symbol(): "0" for place in node.command.places()}
            found[node.id] = key_document(node, plan.choice, inputs)
    return found


def test_tp_changes_what_depends_on_it_and_nothing_else() -> None:
    one, two, four = (documents(plan_of(f"tp={n}", "engine=aot_inductor")) for n in (1, 2, 4))
    changed = {stage for stage in one if one[stage] != two[stage]}
    # What comes after it reads other content, which its key holds.
    assert changed == {"convert"}
    assert {stage for stage in two if two[stage] != four[stage]} == changed
    # The vision engine is also that of the format which auto takes for one rank.
    assert documents(plan_of())["build_vision"] == two["build_vision"]


def test_auto_takes_the_engine_that_ranks_can_share_and_says_why() -> None:
    assert plan_of().choice.backend.engine_choice.name == "onnxruntime"
    choice = plan_of("tp=2").choice.backend.engine_choice
    assert choice.name == "aot_inductor"
    assert "tp=2" in choice.because
    assert not [found for found in find(plan_of("tp=2")) if found.code.startswith("PAR")]


def test_the_checkpoint_is_split_and_each_rank_takes_a_gpu() -> None:
    commands = {node.id: node.command for node in plan_of("tp=2", host=GPUS).active()}
    assert commands["convert"].argv[-2:] == ("--tp-size", "2")
    gpus = {name: each.resources.gpus for name, each in commands.items() if each is not None}
    assert (gpus["build_llm"], gpus["run"], gpus["convert"]) == (1, 2, 0)
    commands = {node.id: node.command for node in plan_of("tp=2").active()}
    assert all(each is None or each.resources.gpus == 0 for each in commands.values())
    one = {node.id: node.command for node in plan_of().active()}
    assert "--tp-size" not in one["convert"].argv


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (("tp=2", "engine=onnxruntime"), "engine=aot_inductor"),
        (("pp=2",), "pp=1"),
        (("tp=2", "pp=2"), "pp=1"),
    ],
)
def test_what_native_engines_cannot_be_split_into_is_refused(words: Any, fix: str) -> None:
    (finding,) = [found for found in find(plan_of(*words)) if found.code == "PAR102"]
    assert (finding.severity, finding.fix) == ("error", fix)


def test_quantized_weights_are_for_one_rank() -> None:
    (finding,) = [
        found for found in find(plan_of("tp=2", "quant=int4_wo")) if found.code == "QNT101"
    ]
    assert finding.fix == "engine=onnxruntime tp=1"
    assert not [
        found
        for found in find(plan_of(*finding.fix.split(), "quant=int4_wo"))
        if found.severity == "error"
    ]
