"""Code to rule: one sorted table, and codes that are no longer used."""

from __future__ import annotations

from mmtrt.rules.base import Rule, rule_of
from mmtrt.rules.engine import flag_refused_by_tool, flags_not_checked
from mmtrt.rules.env import examples_missing
from mmtrt.rules.host import missing_tools, too_few_gpus
from mmtrt.rules.model import (
    misleading_path,
    pickled_weights_allowed,
    unpinned_revision,
    wrong_model_type,
)
from mmtrt.rules.parallel import heads_not_divisible, unsupported_parallelism
from mmtrt.rules.quant import format_not_offered
from mmtrt.rules.run import batch_too_large, prompts_images_mismatch, session_not_supported
from mmtrt.rules.sizes import (
    input_len_too_small,
    multimodal_len_too_small,
    positions_exceeded,
    seq_len_too_small,
    vision_batch_too_small,
)

RULES: dict[str, Rule] = {
    code: rule_of(code, module)
    for code, module in (
        ("ENG201", flag_refused_by_tool),
        ("ENG202", flags_not_checked),
        ("ENV101", examples_missing),
        ("HST102", missing_tools),
        ("HST103", too_few_gpus),
        ("MDL101", unpinned_revision),
        ("MDL102", wrong_model_type),
        ("MDL103", misleading_path),
        ("PAR101", heads_not_divisible),
        ("PAR102", unsupported_parallelism),
        ("QNT101", format_not_offered),
        ("RUN101", batch_too_large),
        ("RUN102", prompts_images_mismatch),
        ("RUN103", session_not_supported),
        ("SEC101", pickled_weights_allowed),
        ("SIZ101", multimodal_len_too_small),
        ("SIZ102", vision_batch_too_small),
        ("SIZ103", input_len_too_small),
        ("SIZ104", seq_len_too_small),
        ("SIZ105", positions_exceeded),
    )
}

RETIRED: dict[str, str] = {}
"""Code that is no longer used -> what became of it. Codes are never used again."""
