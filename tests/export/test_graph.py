from __future__ import annotations

import dataclasses
from pathlib import Path

from mmtrt.export.graph import edges, to_dot, to_mermaid
from mmtrt.plan.build import make_plan
from mmtrt.plan.graph import Plan
from tests.export.small_plan import small_plan
from tests.golden_text import check
from tests.worlds import HOST, recipe, world

GOLDEN = Path(__file__).parent / "golden"


def llava_next() -> Plan:
    return make_plan(recipe("llava_next", tp=2, quant="int4_wo"), HOST)


def test_mermaid_is_as_recorded():
    check(GOLDEN / "small.mmd", to_mermaid(small_plan()))


def test_dot_is_as_recorded():
    check(GOLDEN / "small.dot", to_dot(small_plan()))


def test_the_same_plan_gives_the_same_text():
    assert to_mermaid(llava_next()) == to_mermaid(llava_next())
    assert to_dot(llava_next()) == to_dot(llava_next())


def test_every_need_is_an_edge():
    plan = llava_next()
    drawn = {(edge.source, edge.target) for edge in edges(plan) if not edge.dashed}
    assert drawn == {(need, node.id) for node in plan.nodes for need in node.needs}


def test_scripts_that_are_fetched_are_an_edge():
    drawn = {(edge.source, edge.target, edge.ports) for edge in edges(llava_next())}
    assert ("examples", "convert", ("examples",)) in drawn
    assert '  examples -->|"examples"| convert' in to_mermaid(llava_next())


def test_a_skipped_stage_hangs_on_the_stage_of_a_place_below_it():
    plan = make_plan(recipe("phi4_multimodal", until="download"), HOST)
    drawn = {(edge.source, edge.target): edge for edge in edges(plan)}
    assert drawn["build_vision", "assemble"].dashed
    assert drawn["build_vision", "assemble"].ports == ("vision", "audio")
    assert {edge.source for edge in edges(plan)} <= {node.id for node in plan.nodes}


def test_words_of_the_languages_are_no_names(tmp_path):
    plan = world(
        tmp_path, ("end", "true"), ("a b", "true", ["end"]), ("a_b", "true", ["end"])
    ).plan()
    text = to_mermaid(plan)
    assert '  end_["end<br/>shell"]' in text
    assert '  end_ -->|"end"| a_b\n  end_ -->|"end"| a_b_2' in text


def test_quotes_in_a_reason_do_not_end_the_label(tmp_path):
    plan = world(tmp_path, ("a", "true")).plan()
    node = dataclasses.replace(plan.nodes[0], command=None, skip='until="#1"\n\\<b>')
    plan = dataclasses.replace(plan, nodes=(node,))
    assert "skipped: until=#quot;#35;1#quot; \\#lt;b#gt;" in to_mermaid(plan)
    assert r'label="a\nshell\nskipped: until=\"#1\" \\<b>"' in to_dot(plan)
