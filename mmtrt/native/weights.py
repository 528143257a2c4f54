"""Put a component's weights into its torch module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmtrt.native.component import WEIGHTS_FILE
from mmtrt.native.errors import NativeError
from mmtrt.native.safetensors_file import read_header


def load_weights(
    module: Any, directory: Path, *, prefixes: tuple[str, ...] = ("",), tied_head: bool = False
) -> Any:
    """Fill a module from ``rank0.safetensors`` and return it, in float32 and without gradients.

    Args:
        module: its ``state_dict`` has the names of the checkpoint.
        directory: the component's directory.
        prefixes: names of the tensors that the component must have; tied ones may be left out.
        tied_head: the checkpoint has no ``lm_head.weight``, because it equals the embedding.

    Raises:
        NativeError: MDL204, if names or shapes of module and checkpoint differ; MDL205, if the
            file is damaged.
    """
    import torch
    from safetensors import safe_open

    # Names a damaged file as such; safe_open's own error does not say which file it is.
    read_header(directory / WEIGHTS_FILE)
    state: dict[str, Any] = {}
    with safe_open(directory / WEIGHTS_FILE, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - safe_open is no mapping, only keys() iterates
            tensor = file.get_tensor(name)
            # ONNX Runtime computes in float32 on a CPU; packed integers stay as they are.
            state[name] = tensor.float() if torch.is_floating_point(tensor) else tensor
    if tied_head:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    tied = set(getattr(module, "all_tied_weights_keys", {}))
    try:
        missing, unexpected = module.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:
        raise _misfit(directory, str(error)) from error
    lacking = [name for name in missing if name.startswith(prefixes) and name not in tied]
    if lacking or unexpected:
        raise _misfit(directory, f"lacks {lacking[:1]}, does not know {unexpected[:1]}")
    if tied:
        module.tie_weights()
    return module.requires_grad_(False).eval()


def _misfit(directory: Path, why: str) -> NativeError:
    return NativeError(
        f"{directory}: the weights do not fit the configuration: " + " ".join(why.split()[:40]),
        code="MDL204",
        fix="convert the model again",
    )
