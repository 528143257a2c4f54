"""Where each tensor of a transformers model stands in the files, whatever their age.

Published files have the names of the transformers version that wrote them; the table of renamings
is transformers' own, and so are its checks of what is missing.
"""

from __future__ import annotations

import re
from typing import Any

from mmtrt.native.casting import FLOATS
from mmtrt.native.errors import NativeError
from mmtrt.native.hf_model import HfModel
from mmtrt.native.progress import say

_RECOMPUTED = (r"rotary_emb\.inv_freq$", r"\.position_ids$")
"""Buffers that old files store and that follow from the configuration."""


def names_in_files(skeleton: Any, model: HfModel) -> dict[str, str]:
    """Return name in the transformers model to name in the files, for every stored tensor.

    Tied tensors that the files leave out are left out here too.

    Args:
        skeleton: the model without its weights.
        model: the files.

    Raises:
        NativeError: MDL204, if a tensor is missing or has another shape; MDL206, if it is of
            another kind; MDL207, if one is missing and one has no place in the model; MDL208, if a
            tensor must be split or merged.

    Source: transformers 5.23, core_model_loading.convert_and_load_state_dict_in_model.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    rules = get_model_conversion_mapping(skeleton)
    renamings = [rule for rule in rules if isinstance(rule, WeightRenaming)]
    converters = [rule for rule in rules if isinstance(rule, WeightConverter)]
    wanted = skeleton.state_dict()
    prefix = skeleton.base_model_prefix
    found: dict[str, str] = {}
    unknown: list[str] = []
    for source, tensor in sorted(model.tensors.items()):
        target, pattern = rename_source_key(source, renamings, converters, prefix, wanted)
        if target not in wanted:
            target, pattern = rename_source_key(source, [], [], prefix, wanted)
        if target not in wanted:
            if not _is_known_leftover(skeleton, target):
                unknown.append(source)
            continue
        if pattern is not None:
            raise NativeError(
                f"{source}: must be converted with others, which is not supported", code="MDL208"
            )
        if tuple(wanted[target].shape) != tensor.shape:
            raise NativeError(
                f"{source}: has shape {list(tensor.shape)}, config.json asks for "
                f"{list(wanted[target].shape)}",
                code="MDL204",
                why="the weights are of another model, or packed by a quantization",
                fix="check that config.json and the weights belong to the same, unquantized model",
            )
        if wanted[target].is_floating_point() and tensor.dtype not in FLOATS:
            raise NativeError(
                f"{source}: is stored as {tensor.dtype}",
                code="MDL206",
                why=f"a weight is read as {', '.join(FLOATS)}; others belong to a quantization",
                fix="take the model that is not quantized",
            )
        found[target] = source
    tied = skeleton.all_tied_weights_keys
    for target, source in tied.items():
        # A tied file may store the copy too; transformers ignores it, so must we.
        if source in found:
            found.pop(target, None)
    missing = [name for name in wanted if name not in found and name not in tied]
    if unknown and missing:
        raise NativeError(
            f"{unknown[0]}: the model has no such tensor",
            code="MDL207",
            why=f"and {missing[0]} is not there",
            fix="check that config.json and the weights belong to the same model",
        )
    if unknown:
        # As transformers does: what no module asks for is passed over, and told.
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        say(f"not read, the model has no such tensor: {unknown[0]}{more}")
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise NativeError(
            f"{model.directory}: the weights lack {missing[0]}{more}",
            code="MDL204",
            why="config.json asks for it",
            fix="finish the download of the model",
        )
    return found


def _is_known_leftover(skeleton: Any, name: str) -> bool:
    """Tell whether transformers itself expects files to hold a tensor that it does not use."""
    patterns = getattr(skeleton, "_keys_to_ignore_on_load_unexpected", None) or ()
    return any(re.search(pattern, name) for pattern in (*patterns, *_RECOMPUTED))
