"""Every rule's own documentation is run: its example is flagged, what to use instead is not."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace

import pytest

from mmtrt.config.compose import Composer
from mmtrt.config.recipe import resolve
from mmtrt.errors import HostError, RuleViolation
from mmtrt.host import Gpu
from mmtrt.plan.build import make_plan
from mmtrt.rules.check import check_plan, find
from mmtrt.rules.codes import RETIRED, RULES
from tests.rules.conftest import write_nemo
from tests.worlds import HOST, ROOT

COMPOSER = Composer()

FOUR_GPUS = replace(HOST, gpus=tuple(Gpu(i, "H100", f"GPU-{i}", 90, 80 << 30) for i in range(4)))
HEADINGS = ["What it checks", "Why it matters", "Example", "Use instead", "Source"]


def sections(documentation: str) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", documentation, flags=re.MULTILINE)
    return {title: body.strip() for title, body in zip(parts[1::2], parts[2::2])}


def overrides(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    assert words[0] == "mmtrt" and words[1] in ("plan", "check", "run")
    return words[2:]


def plan_of(words: list[str], host=FOUR_GPUS):
    composed = COMPOSER.compose(words)
    return make_plan(resolve(composed.settings, tuple(words), composed.where), host)


TEXT = {"max_position_embeddings": 131072}
FACTORS = {"short_factor": [1.0], "long_factor": [2.0]}
MODELS = {
    "llava-v1.6-mistral-7b-hf": {"model_type": "llava_next", "new_key": {}},
    "llava-1.5-7b-hf": {"model_type": "llava", "new_key": {}},
    "llava-saved-twice": {"model_type": "llava"},
    "llava-of-beams": {"model_type": "llava", "num_beams": 4},
    "llava-bnb-4bit": {"model_type": "llava", "quantization_config": {"load_in_4bit": True}},
    "own-rotations": {"model_type": "llava_next", "text_config": {"rope_scaling": {"type": "own"}}},
    "window-4096": {"model_type": "llava_next", "text_config": {**TEXT, "sliding_window": 4096}},
    "phi-4-hf": {
        "model_type": "phi4_multimodal",
        **TEXT,
        "rope_scaling": {"type": "longrope", **FACTORS},
    },
}
"""Name -> config.json of the models that examples name."""


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Make the directories that examples name, and let them be found."""
    made = tmp_path / "models"
    for name, config in MODELS.items():
        (made / name).mkdir(parents=True)
        (made / name / "config.json").write_text(json.dumps(config))
    for file in ("model.safetensors", "adapter.safetensors"):
        (made / "llava-saved-twice" / file).write_bytes(b"")
    (made / "picture.png").write_bytes(b"")
    write_nemo(made / "clip.nemo", "openai/clip-vit-large-patch14-336")
    write_nemo(made / "siglip.nemo", "google/siglip-so400m-patch14-384")
    return lambda words: [word.replace("/models", str(made)) for word in words]


@pytest.mark.parametrize("code", RULES)
def test_documentation_has_the_fixed_headings(code):
    documentation = RULES[code].documentation
    assert documentation.startswith("Flag ")
    assert list(sections(documentation)) == HEADINGS
    assert all(sections(documentation).values())


@pytest.mark.parametrize("code", RULES)
def test_example_is_flagged_and_use_instead_is_not(code, models):
    parts = sections(RULES[code].documentation)
    bad = find(plan_of(models(overrides(parts["Example"]))))
    assert code in [finding.code for finding in bad]
    good = parts["Use instead"]
    if good.startswith("mmtrt"):
        assert code not in [finding.code for finding in find(plan_of(models(overrides(good))))]


@pytest.mark.parametrize(
    "code", [code for code in RULES if code[:3] in ("SIZ", "RUN", "PAR", "QNT")]
)
def test_fix_works_when_typed_after_the_example(code, models):
    words = models(overrides(sections(RULES[code].documentation)["Example"]))
    (finding,) = [f for f in find(plan_of(words)) if f.code == code]
    fixes = shlex.split(finding.fix)
    keys = {word.split("=")[0] for word in fixes}
    mended = [word for word in words if word.split("=")[0] not in keys] + fixes
    assert code not in [f.code for f in find(plan_of(mended))]


def test_codes_are_sorted_unique_and_in_known_areas():
    assert list(RULES) == sorted(RULES)
    assert not RULES.keys() & RETIRED.keys()
    areas = ["CFG", "MDL", "SIZ", "QNT", "PAR", "ENG", "RUN", "EVL", "ENV", "HST", "ART", "SEC"]
    assert all(re.fullmatch(r"[A-Z]{3}\d{3}", code) and code[:3] in areas for code in RULES)


def test_every_rule_file_is_in_the_table():
    files = {
        path.stem.replace("_", "-")
        for path in (ROOT / "mmtrt/rules").glob("*/*.py")
        if path.stem != "__init__"
    }
    assert files == {rule.name for rule in RULES.values()}


def test_all_findings_come_at_once_worst_first():
    words = ["recipe=llava", "max_multimodal_len=1", "max_seq_len=9000", "run.batch_size=3"]
    found = find(plan_of(words))
    severities = [finding.severity for finding in found]
    assert severities == sorted(severities, key=["error", "warning", "info"].index)
    assert {"SIZ101", "SIZ105", "RUN101"} <= {finding.code for finding in found}
    with pytest.raises(RuleViolation) as caught:
        check_plan(plan_of(words))
    assert "SIZ101" in caught.value.render() and "RUN101" in caught.value.render()


def test_finding_names_where_why_and_fix():
    (finding,) = [
        f
        for f in find(plan_of(["recipe=llava", "max_batch_size=8", "max_multimodal_len=4096"]))
        if f.code == "SIZ101"
    ]
    assert finding.render() == (
        "error[SIZ101]: max_multimodal_len is 4096, need >= 4608\n"
        "  at: override 'max_multimodal_len=4096'\n"
        "  why: max_batch_size 8 x 576 visual features per request ((336/14) x (336/14) patches)\n"
        "  fix: max_multimodal_len=4608\n"
        "  more: mmtrt rule SIZ101"
    )


def test_host_that_lacks_tools_stops_a_run_but_not_a_plan():
    plan = plan_of(["recipe=llava", "backend=trtllm"], replace(HOST, versions={}))
    assert {"HST102", "HST103"} <= {finding.code for finding in find(plan)}
    with pytest.raises(HostError) as caught:
        check_plan(plan)
    assert caught.value.exit_code == 5
