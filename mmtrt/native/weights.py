"""Put a component's weights into its torch module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmtrt.native.component import weights_file
from mmtrt.native.errors import NativeError
from mmtrt.native.safetensors_file import read_header


def load_weights(
    module: Any,
    directory: Path,
    *,
    prefixes: tuple[str, ...] = ("",),
    tied_head: bool = False,
    as_stored: bool = False,
    inner: str = "",
    rank: int = 0,
) -> Any:
    """Fill a module from a rank's file and return it, in float32 and without gradients.

    Args:
        module: its ``state_dict`` has the names of the checkpoint.
        directory: the component's directory.
        prefixes: names of the tensors that the component must have; tied ones may be left out.
        tied_head: the checkpoint has no ``lm_head.weight``, because it equals the embedding.
        as_stored: keep the types of the file; its pages are then read when a weight is used, and
            take no memory of their own.
        inner: the checkpoint's name of what the module calls ``model.``.
        rank: whose weights, where several share the model.

    Raises:
        NativeError: MDL204, if names or shapes of module and checkpoint differ; MDL205, if the
            file is damaged.
    """
    import torch
    from safetensors import safe_open

    # Names a damaged file as such; safe_open's own error does not say which file it is.
    path = directory / weights_file(rank)
    read_header(path)
    state: dict[str, Any] = {}
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - safe_open is no mapping, only keys() iterates
            tensor = file.get_tensor(name)
            # ONNX Runtime computes in float32 on a CPU; packed integers stay as they are.
            widens = torch.is_floating_point(tensor) and not as_stored
            name = "model." + name.removeprefix(inner) if inner and name.startswith(inner) else name
            state[name] = tensor.float() if widens else tensor
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
