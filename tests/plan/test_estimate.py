"""What a plan says it will take, where the numbers come from, and the rules that read them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mmtrt.artifacts.keys import key_of
from mmtrt.artifacts.store import Store
from mmtrt.backends.needs import Needs
from mmtrt.host import Gpu
from mmtrt.plan.assess import assess
from mmtrt.plan.build import make_plan
from mmtrt.plan.estimate import estimates
from mmtrt.plan.rank_memory import gpu_memory, load_of
from mmtrt.report.plan_view import plan_json, plan_text
from mmtrt.rules.codes import RULES
from mmtrt.rules.host import disk_short
from mmtrt.sizing import memory
from tests.calls import calls_of
from tests.worlds import HOST, recipe, world

GIB = 1 << 30
COGVLM = 17_639_685_376


def plan_of(name: str, host=HOST, **changes):
    return make_plan(recipe(name, **{"backend": "trtllm", **changes}), host)


def flagged(code: str, plan):
    return list(RULES[code].check(plan))


def resources(plan):
    return {n.id: n.command.resources for n in plan.active() if n.command is not None}


def test_parts_of_a_rank_have_their_sums():
    found = gpu_memory(plan_of("cogvlm"))
    assert found is not None and found.not_counted == ()
    sizes = {part.name: part.size_bytes for part in found.parts}
    assert sizes["weights"] == 2 * COGVLM
    assert sizes["KV cache"] == 3076 * 524_288
    assert sizes["prompt table"] == 61440 * 4096 * 2
    assert sizes["activations"] == (8192 * 2 * (4096 + 11008) + 48 * 32000) * 2
    assert found.size_bytes == sum(sizes.values())
    assert "3076 tokens x 2 x 32 layers x 32 heads x 128 x 2 bytes" in found.parts[1].because


def test_ranks_share_all_but_the_table():
    one, two = gpu_memory(plan_of("cogvlm")), gpu_memory(plan_of("cogvlm", tp=2))
    assert one is not None and two is not None
    for whole, half in zip(one.parts[:2], two.parts[:2]):
        assert half.size_bytes == whole.size_bytes // 2
    assert one.parts[2] == two.parts[2]


def test_patch_rows_have_a_mask():
    plan = plan_of("qwen2_vl", vision__max_batch_size=4)
    found = gpu_memory(plan)
    assert found is not None
    assert found.parts[-1].name == "vision mask"
    assert found.parts[-1].size_bytes == memory.attention_mask_bytes(4 * 5184)
    # Other families count tiles there.
    tiled = gpu_memory(plan_of("internvl2", variant="2b"))
    assert tiled is not None and "vision mask" not in [part.name for part in tiled.parts]


def test_attended_features_are_cached_too():
    plan = plan_of("nougat")
    load = load_of(plan)
    assert load is not None and load.seq == 101 + 588
    assert load.rows == 0


def test_what_is_not_known_is_not_counted(tmp_path):
    found = gpu_memory(plan_of("gemma3"))
    assert found is not None and [part.name for part in found.parts] == ["weights"]
    assert found.not_counted == ("KV cache: max_seq_len is not stated",)
    nemo = tmp_path / "model.nemo"
    nemo.write_bytes(b"x")
    plan = plan_of("neva", model__path=str(nemo))
    assert gpu_memory(plan) is None
    assert not any(each.ram_bytes or each.disk_bytes for each in resources(plan).values())


def test_no_stage_that_answers_needs_no_gpu_memory():
    assert gpu_memory(plan_of("cogvlm", until="build_llm")) is None
    assert gpu_memory(plan_of("llava", variant="tiny", backend="native")) is None


def test_stages_say_what_they_need():
    whole = 2 * COGVLM
    found = resources(plan_of("cogvlm"))
    assert found["download"].disk_bytes == whole
    assert (found["convert"].ram_bytes, found["convert"].disk_bytes) == (whole, whole)
    assert found["build_llm"].disk_bytes == whole
    assert found["build_llm"].gpus == 1
    assert found["run"].ram_bytes == found["assemble"].disk_bytes == 0
    # One rank after the other.
    assert resources(plan_of("cogvlm", tp=4))["convert"].ram_bytes == whole // 4


def test_weight_only_conversion_writes_less():
    plain = resources(plan_of("qwen2_vl"))["convert"].disk_bytes
    small = resources(plan_of("qwen2_vl", quant="int8_wo"))["convert"].disk_bytes
    assert 0.5 < small / plain < 0.75


def test_enc_dec_conversion_has_four_workers():
    both = resources(plan_of("blip2", variant="flan_t5_xl", tp=4))["convert"]
    assert both.ram_bytes == both.disk_bytes


def test_stand_ins_need_nothing():
    found = resources(plan_of("cogvlm", backend="fake"))
    assert not any(each.ram_bytes or each.disk_bytes for each in found.values())
    assert gpu_memory(plan_of("cogvlm", backend="fake")) == gpu_memory(plan_of("cogvlm"))


def test_a_local_model_tells_by_itself():
    plan = plan_of("llava", variant="tiny", backend="native")
    weights = Needs(plan.recipe, native=True).weights
    assert weights is not None and weights.because == "headers of 1 safetensors file"
    assert weights.parameters == 1_384_640
    found = resources(plan)
    assert found["download"].disk_bytes == 0, "it is linked"
    # Measured: 3 581 611 bytes, and 466.6 MiB at the peak.
    assert found["build_llm"].disk_bytes == pytest.approx(3_581_611, rel=0.011)
    assert found["build_llm"].ram_bytes == pytest.approx(466.6 * (1 << 20), rel=0.05)
    assert found["run"].ram_bytes == pytest.approx(87 * (1 << 20), rel=0.05)


@pytest.mark.parametrize(
    ("linear", "others", "dtype", "quant", "mib"),
    [
        # Measured: peak of build_llm; the first four made the formula, the last one tests it.
        pytest.param(70_778_880, 25_182_720, "float32", "none", 1953, id="96M float32"),
        pytest.param(70_778_880, 25_182_720, "float16", "none", 1610, id="96M float16"),
        pytest.param(70_778_880, 25_182_720, "float32", "int8_wo", 1185, id="96M int8_wo"),
        pytest.param(70_778_880, 25_182_720, "float32", "int4_wo", 1052, id="96M int4_wo"),
        pytest.param(339_738_624, 50_370_048, "float32", "none", 3491, id="390M float32"),
    ],
)
def test_memory_of_an_export_as_measured(linear, others, dtype, quant, mib):
    from mmtrt.backends import needs
    from mmtrt.sizing.weights import Weights

    weights = Weights(linear + others, 0, "", encoder=0, linear=linear)
    measured = {"variant": "tiny", "dtype": dtype, "quant": quant, "quant__block_size": 32}
    plan = plan_of("llava", backend="native", **measured)
    each = Needs(plan.recipe, native=True)
    vars(each)["weights"] = weights
    found = needs._export_ram(each.llm_bytes(dtype="float32"), each.llm_bytes())
    assert found / (1 << 20) == pytest.approx(mib, rel=0.05)


def publish(store: Store, plan, name: str, *, size: int = 10, change: str = "", **made) -> None:
    """Put an output of a node into the store, as an earlier run would have left it."""
    state = assess(plan, store)[name]
    document = json.loads(json.dumps(state.document))
    if change:
        document["argv"] += [f"--{change}", "another"]
    node = state.node
    staging = store.open_staging(node.kind, key_of(document), node.stage.model_name)
    (staging.path / "model.safetensors").write_bytes(bytes(size))
    store.publish(
        staging,
        key_document=document,
        command={},
        host={},
        backend=plan.choice.backend.name,
        stage=name,
        **{"seconds": 12.5, "peak_rss_bytes": 5 * GIB, **made},
    )


def test_estimates_are_computed_before_anything_ran(tmp_path):
    rows = estimates(assess(plan_of("cogvlm"), Store(tmp_path)))
    row = {each.name: each for each in rows["convert"]}
    assert set(row) == {"ram", "disk"}
    assert row["disk"].kind == "computed" and row["disk"].value == 2 * COGVLM
    (memory_row,) = rows["run"]
    assert memory_row.name == "gpu_memory" and memory_row.because.startswith("at least weights")
    assert rows["eval"] == ()


def test_estimates_learn_from_an_earlier_run(tmp_path):
    plan, store = plan_of("cogvlm", host=HOST), Store(tmp_path)
    publish(store, plan, "download", size=1000, change="revision")
    row = {each.name: each for each in estimates(assess(plan, store))["download"]}
    assert row["seconds"].kind == "measured" and row["seconds"].value == 12.5
    assert "which differs in revision" in row["seconds"].because
    # Another revision: the computed size counts; of memory only the measured one is known.
    assert row["disk"].kind == "computed"
    assert (row["ram"].kind, row["ram"].value) == ("measured", 5 * GIB)


def test_the_same_again_is_measured(tmp_path):
    store = Store(tmp_path)
    publish(store, plan_of("cogvlm"), "download", size=1000)
    rows = estimates(assess(plan_of("cogvlm"), store))
    assert rows["download"] == (), "it is in the store"
    rows = estimates(assess(plan_of("cogvlm", force="download"), store))
    row = {each.name: each for each in rows["download"]}
    assert (row["disk"].kind, row["disk"].value) == ("measured", 1000)


def test_a_nearer_run_is_preferred_to_a_newer_one(tmp_path):
    plan, store = plan_of("cogvlm"), Store(tmp_path)
    publish(store, plan, "examples", seconds=1.0, change="url")
    publish(store, plan, "examples", seconds=2.0)
    plan = plan_of("cogvlm", force="examples")
    row = {each.name: each for each in estimates(assess(plan, store))["examples"]}
    assert row["seconds"].value == 2.0


def test_another_backend_is_no_guide(tmp_path):
    store = Store(tmp_path)
    publish(store, plan_of("cogvlm", backend="fake"), "download", fake=True)
    rows = estimates(assess(plan_of("cogvlm"), store))
    assert "seconds" not in {each.name for each in rows["download"]}


def test_plan_shows_them(tmp_path):
    assessment = assess(plan_of("cogvlm"), Store(tmp_path))
    text = plan_text(assessment, (), False)
    assert "GPU memory of a rank: at least 35.3 GiB (computed), weights 32.9 GiB" in text
    assert (
        "will take about: 98.6 GiB of disk (computed), 32.9 GiB of RAM for convert (computed)"
        in text
    )
    stages = {row["id"]: row for row in plan_json(assessment, ())["stages"]}
    assert stages["convert"]["estimates"]["disk"] == {
        "value": 2 * COGVLM,
        "unit": "bytes",
        "kind": "computed",
        "because": "from the sizes of the weights",
    }
    assert stages["convert"]["resources"]["disk_bytes"] == 2 * COGVLM
    assert stages["eval"]["estimates"] == {}


def test_other_toolchains_have_no_estimates(tmp_path):
    made = world(tmp_path, ("a", "echo > $1/x"))
    assessment = assess(made.plan(), Store(tmp_path / "store"))
    assert estimates(assessment) == {"a": ()}
    assert "will take" not in plan_text(assessment, (), False)


def test_estimating_reads_no_file_and_does_next_to_nothing(tmp_path):
    assessment = assess(
        plan_of("llava", variant="tiny", backend="native"), Store(tmp_path / "store")
    )
    counts = calls_of(lambda: estimates(assessment))
    assert not {"open", "stat", "scandir", "hash_file"} & counts.keys()
    assert counts.total() < 2_000  # measured: 270


# HST105


def target(name: str, gib: float, **changes):
    return plan_of(name, target__gpu_memory_gib=gib, **changes)


def test_gpu_too_small_names_parts_and_a_fix_that_fits():
    (finding,) = flagged("HST105", target("cogvlm", 24))
    assert finding.severity == "error"
    assert (
        finding.message == "a rank needs at least 35.3 GiB of GPU memory, the target has 24.0 GiB"
    )
    assert finding.why == (
        "weights 32.9 GiB + KV cache 1.5 GiB + prompt table 0.5 GiB + activations 0.5 GiB"
    )
    assert finding.fix == "tp=2"
    assert flagged("HST105", target("cogvlm", 24, tp=2)) == []
    assert flagged("HST105", target("cogvlm", 40)) == []


def test_smaller_limits_are_the_fix_where_they_are_the_reason():
    asked = {"max_batch_size": 64, "variant": "2b"}
    (finding,) = flagged("HST105", target("qwen2_vl", 16, **asked))
    assert "vision mask" in finding.why
    key, _, value = finding.fix.partition("=")
    assert key == "max_batch_size" and 1 <= int(value) < 64
    assert flagged("HST105", target("qwen2_vl", 16, **asked | {key: int(value)})) == []


def test_shorter_requests_are_the_fix_where_their_cache_is_the_reason():
    asked = {"run__batch_size": 4, "max_batch_size": 4, "max_seq_len": 20000}
    (finding,) = flagged("HST105", target("cogvlm", 64, **asked))
    key, _, value = finding.fix.partition("=")
    assert key == "max_seq_len" and 2048 + 128 <= int(value) < 20000
    assert flagged("HST105", target("cogvlm", 64, **asked | {key: int(value)})) == []


def test_smaller_weights_are_the_fix_where_ranks_are_not_enough():
    host = replace(HOST, gpus=(Gpu(0, "RTX", "GPU-0", 89, 12 * GIB),))
    (finding,) = flagged("HST105", plan_of("qwen2_vl", host=host, variant="7b"))
    assert "this host has 12.0 GiB" in finding.message
    assert finding.fix == "quant=fp8"
    assert flagged("HST105", plan_of("qwen2_vl", host=host, variant="7b", quant="fp8")) == []
    # An Ampere GPU has no float8.
    older = replace(host, gpus=(replace(host.gpus[0], sm=86),))
    (finding,) = flagged("HST105", plan_of("qwen2_vl", host=older, variant="7b"))
    assert finding.fix != "quant=fp8"


def test_what_never_fits_says_how_large_a_gpu_must_be():
    (finding,) = flagged("HST105", target("llava_onevision", 4, variant="72b"))
    assert finding.fix.startswith("target.gpu_memory_gib=15")
    assert load_of(target("llava_onevision", 4, variant="72b")) is not None


def test_no_gpu_no_finding():
    assert flagged("HST105", plan_of("cogvlm")) == []
    small = replace(HOST, gpus=(Gpu(0, "T4", "GPU-0", 75, 1 * GIB),))
    assert flagged("HST105", plan_of("cogvlm", host=small, backend="fake")) == []
    assert flagged("HST105", plan_of("llava", host=small, variant="tiny", backend="native")) == []


# HST106 and HST107


def test_conversion_larger_than_the_host():
    (finding,) = flagged("HST106", plan_of("cogvlm"))
    assert finding.severity == "warning"
    assert (
        finding.message == "stage convert needs at least 32.9 GiB of memory, this host has 16.0 GiB"
    )
    assert finding.fix.startswith("mmtrt export")
    assert flagged("HST106", plan_of("cogvlm", host=replace(HOST, ram_bytes=0))) == []
    assert flagged("HST106", plan_of("cogvlm", tp=4)) == []


def test_several_workers_are_told_to_go_one_by_one():
    plan = plan_of("blip2", variant="flan_t5_xxl", tp=2)
    (finding,) = flagged("HST106", plan)
    assert finding.fix == "recipe.stages.convert.flags.workers=1"


def test_disk_too_small(monkeypatch, tmp_path):
    monkeypatch.setattr(disk_short, "free_bytes", lambda plan: 50 * GIB)
    plan = plan_of("cogvlm", paths__store=str(tmp_path))
    (finding,) = flagged("HST107", plan)
    assert finding.message == "the store needs about 65.7 GiB, its disk has 50.0 GiB free"
    assert finding.why == "convert 32.9 GiB + build_llm 32.9 GiB"
    monkeypatch.setattr(disk_short, "free_bytes", lambda plan: 60 * GIB)
    assert flagged("HST107", plan) == [], "less than a tenth is missing, and the sum is rough"


def test_what_is_in_the_store_needs_no_room(monkeypatch, tmp_path):
    plan = plan_of("cogvlm", paths__store=str(tmp_path), host=replace(HOST, ram_bytes=GIB))
    store = Store(tmp_path)
    monkeypatch.setattr(disk_short, "free_bytes", lambda plan: GIB)
    for name in ("examples", "download", "download_tokenizer", "patch", "convert", "build_llm"):
        assert flagged("HST107", plan) and (name == "build_llm" or flagged("HST106", plan))
        publish(store, plan, name)
    assert flagged("HST106", plan) == flagged("HST107", plan) == []


def test_free_space_is_that_of_the_nearest_directory(tmp_path):
    here = replace(HOST, lookup=True)
    plan = plan_of("cogvlm", host=here, paths__store=str(tmp_path / "not/yet/there"))
    assert (disk_short.free_bytes(plan) or 0) > 0
    assert disk_short.free_bytes(plan_of("cogvlm")) is None, "a host that is not this machine"
