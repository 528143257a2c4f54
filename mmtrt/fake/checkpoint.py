"""Write TensorRT-LLM checkpoints: ``config.json`` and ``rank<r>.safetensors``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrt.fake import files
from mmtrt.fake.failure import require
from mmtrt.fake.model_dir import Model


@dataclass(frozen=True)
class Split:
    """How many ways the model is cut."""

    tp: int = 1
    pp: int = 1
    cp: int = 1

    @property
    def world(self) -> int:
        """Number of ranks."""
        return self.tp * self.pp * self.cp

    def to_json(self) -> dict[str, int]:
        """Return the ``mapping`` of a checkpoint's ``config.json``."""
        return {
            "world_size": self.world,
            "gpus_per_node": 8,
            "tp_size": self.tp,
            "pp_size": self.pp,
            "cp_size": self.cp,
        }


def require_division(model: Model, tp: int) -> None:
    """Stop unless heads can be dealt out to ``tp`` ranks.

    Source: TensorRT-LLM ``Attention``: more ranks than key-value heads duplicate them.
    """
    heads = model.number("num_attention_heads")
    kv_heads = model.number("num_key_value_heads") or heads
    if heads is not None:
        require(
            heads % tp == 0,
            "AssertionError",
            f"num_attention_heads {heads} is not divisible by tp_size {tp}",
        )
    if kv_heads is not None:
        small, large = sorted((kv_heads, tp))
        require(
            large % small == 0,
            "AssertionError",
            f"num_key_value_heads {kv_heads} and tp_size {tp} do not divide each other",
        )


def dtype_of(asked: str, model: Model) -> str:
    """Return the number format for ``--dtype``; ``auto`` takes the published one."""
    if asked != "auto":
        return asked
    stated = str(
        model.config.get("torch_dtype") or model.config.get("dtype") or model.facts.get("dtype")
    )
    return stated if stated in ("float16", "bfloat16") else "float16"


def write(
    place: Path,
    model: Model,
    architecture: str,
    dtype: str,
    mapping: Split,
    quantization: Mapping[str, Any],
    *,
    seed: object,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write one checkpoint.

    Args:
        place: its directory.
        model: what it is made of.
        architecture: what ``trtllm-build`` looks for.
        dtype: number format of what is not quantized.
        mapping: how many ranks there are.
        quantization: ``quant_algo`` and the like.
        seed: everything else that the weights depend on.
        extra: further keys of ``config.json``.
    """
    numbers = {
        name: model.number(name)
        for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size")
    }
    heads = model.number("num_attention_heads")
    config = {
        "architecture": architecture,
        "dtype": dtype,
        "logits_dtype": "float32",
        **numbers,
        "num_attention_heads": heads,
        "num_key_value_heads": model.number("num_key_value_heads") or heads,
        "max_position_embeddings": model.number("max_position_embeddings"),
        "quantization": {"quant_algo": None, "kv_cache_quant_algo": None, **quantization},
        "mapping": mapping.to_json(),
        **(extra or {}),
    }
    scaling = model.text.get("rope_scaling")
    if isinstance(scaling, dict):
        config["rotary_scaling"] = scaling
    files.write_json(place / "config.json", config)
    for rank in range(mapping.world):
        weights = files.digest(config, model.digest(), seed, rank)
        files.write_safetensors(place / f"rank{rank}.safetensors", f"fake.rank{rank}", weights)
