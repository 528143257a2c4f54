"""Put a component's weights into its torch module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmtrt.native.component import WEIGHTS_FILE
from mmtrt.native.errors import NativeError
from mmtrt.native.safetensors_file import read_header


def load_weights(module: Any, directory: Path, *, tied_head: bool = False) -> Any:
    """Fill a module from ``rank0.safetensors`` and return it, in float32 and without gradients.

    Args:
        module: its ``state_dict`` has the names of the checkpoint.
        directory: the component's directory.
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
    try:
        module.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise NativeError(
            f"{directory}: the weights do not fit the configuration: "
            + " ".join(str(error).split()[:40]),
            code="MDL204",
            fix="convert the model again",
        ) from error
    return module.requires_grad_(False).eval()
