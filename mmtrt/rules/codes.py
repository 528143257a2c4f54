"""Code to rule: one sorted table, and codes that are no longer used."""

from __future__ import annotations

from mmtrt.rules.base import Rule, rule_of
from mmtrt.rules.engine import (
    flag_derived_already,
    flag_refused_by_tool,
    flags_contradict,
    flags_not_checked,
    plugin_of_other_dtype,
    version_without_engines,
)
from mmtrt.rules.env import examples_missing, network_not_allowed, pin_contradicted
from mmtrt.rules.eval import no_data_set, not_evaluated, nothing_to_compare
from mmtrt.rules.host import (
    disk_short,
    gpu_memory_short,
    host_memory_short,
    missing_tools,
    other_gpu,
    too_few_gpus,
)
from mmtrt.rules.model import (
    checkpoint_without_prompt,
    layout_of_authors,
    misleading_path,
    pickled_weights_allowed,
    quantized_already,
    rotations_not_known,
    two_sets_of_weights,
    unpinned_revision,
    weights_not_there,
    wrong_model_type,
)
from mmtrt.rules.parallel import (
    heads_not_divisible,
    pipeline_too_deep,
    unsupported_parallelism,
    world_size_changed,
)
from mmtrt.rules.quant import (
    calibration_not_possible,
    dtype_not_supported,
    format_not_offered,
    gpu_cannot_compute,
    setting_without_effect,
)
from mmtrt.rules.run import (
    accuracy_of_named_pictures,
    batch_beyond_runner,
    batch_too_large,
    chunks_without_paged_attention,
    inputs_dropped,
    kv_cache_leaves_no_room,
    media_not_taken,
    offloading_without_chunks,
    option_without_effect,
    picture_not_taken,
    pictures_of_one_request,
    prompts_images_mismatch,
    pytorch_option_not_supported,
    session_not_supported,
)
from mmtrt.rules.safety import unpinned_code
from mmtrt.rules.sizes import (
    encoder_len_too_small,
    input_len_too_small,
    multimodal_len_too_small,
    num_tokens_too_small,
    positions_exceeded,
    request_too_large,
    rotations_change,
    seq_len_too_small,
    too_many_frames,
    vision_batch_too_small,
    window_exceeded,
)

RULES: dict[str, Rule] = {
    code: rule_of(code, module)
    for code, module in (
        ("ENG201", flag_refused_by_tool),
        ("ENG202", flags_not_checked),
        ("ENG203", plugin_of_other_dtype),
        ("ENG204", flags_contradict),
        ("ENG205", flag_derived_already),
        ("ENG206", version_without_engines),
        ("ENV101", examples_missing),
        ("ENV102", pin_contradicted),
        ("ENV103", network_not_allowed),
        ("EVL102", not_evaluated),
        ("EVL103", nothing_to_compare),
        ("EVL104", no_data_set),
        ("HST102", missing_tools),
        ("HST103", too_few_gpus),
        ("HST104", other_gpu),
        ("HST105", gpu_memory_short),
        ("HST106", host_memory_short),
        ("HST107", disk_short),
        ("MDL101", unpinned_revision),
        ("MDL102", wrong_model_type),
        ("MDL103", misleading_path),
        ("MDL104", weights_not_there),
        ("MDL105", checkpoint_without_prompt),
        ("MDL106", layout_of_authors),
        ("MDL120", rotations_not_known),
        ("MDL121", two_sets_of_weights),
        ("MDL122", quantized_already),
        ("PAR101", heads_not_divisible),
        ("PAR102", unsupported_parallelism),
        ("PAR103", pipeline_too_deep),
        ("PAR104", world_size_changed),
        ("QNT101", format_not_offered),
        ("QNT102", dtype_not_supported),
        ("QNT103", gpu_cannot_compute),
        ("QNT104", calibration_not_possible),
        ("QNT105", setting_without_effect),
        ("RUN101", batch_too_large),
        ("RUN102", prompts_images_mismatch),
        ("RUN103", session_not_supported),
        ("RUN104", offloading_without_chunks),
        ("RUN105", kv_cache_leaves_no_room),
        ("RUN106", pytorch_option_not_supported),
        ("RUN107", media_not_taken),
        ("RUN108", picture_not_taken),
        ("RUN109", inputs_dropped),
        ("RUN110", accuracy_of_named_pictures),
        ("RUN111", pictures_of_one_request),
        ("RUN112", option_without_effect),
        ("RUN113", batch_beyond_runner),
        ("RUN114", chunks_without_paged_attention),
        ("SEC101", pickled_weights_allowed),
        ("SEC102", unpinned_code),
        ("SIZ101", multimodal_len_too_small),
        ("SIZ102", vision_batch_too_small),
        ("SIZ103", input_len_too_small),
        ("SIZ104", seq_len_too_small),
        ("SIZ105", positions_exceeded),
        ("SIZ106", request_too_large),
        ("SIZ107", num_tokens_too_small),
        ("SIZ108", encoder_len_too_small),
        ("SIZ109", too_many_frames),
        ("SIZ120", rotations_change),
        ("SIZ121", window_exceeded),
    )
}

RETIRED: dict[str, str] = {}
"""Code that is no longer used -> what became of it. Codes are never used again."""
