"""Host memory and disk that a stage takes, from what is known of the model's weights.

Zero where nothing is known: a stage that states no need shares the host with any other.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path

from mmtrt.backends.aot_engines import AOT_ENGINE
from mmtrt.backends.base import Command, Skip
from mmtrt.backends.native_quant import BLOCK_SIZES, CALIBRATED
from mmtrt.config.recipe import Recipe
from mmtrt.config.root import ASSET_SCHEME, asset
from mmtrt.sizing import memory
from mmtrt.sizing.weights import Weights, stored_weights
from mmtrt.stages import BuildLlm, BuildVision, Convert, Download, Eval, Quantize, Run, Stage

NATIVE_BUILD_BASE = 450 << 20
"""Bytes that an export takes whatever the model: torch and transformers (*measured*)."""
NATIVE_BUILD_COPIES = 2
"""Times that an export holds the weights as it computes with them, in float32, and again as it
writes them (*measured*, see docs/benchmarks.md); once where they go to a file of their own."""
EXTERNAL_DATA_BYTES = 1_500_000_000
"""Weights above which :mod:`mmtrt.native` writes them beside the graph."""
TRACED = "float32"
"""Number format in which an export holds what is not quantized."""
NATIVE_RUN_BASE = 80 << 20
"""Bytes of a process that answers, without its engines (*measured*: onnxruntime, tokenizers)."""

ENC_DEC_WORKERS = 4
"""``--workers`` of the enc_dec conversion where it is not given; elsewhere 1 (TensorRT-LLM 1.2)."""


class Needs:
    """What the stages of one recipe need."""

    def __init__(self, recipe: Recipe, native: bool = False) -> None:
        """Take the model from the recipe.

        Args:
            recipe: which model, in which number format.
            native: whether stages are those of :mod:`mmtrt.native`, which hold no rank's weights.
        """
        self.recipe, self.native = recipe, native

    @cached_property
    def weights(self) -> Weights | None:
        """What is known of the checkpoint: its own headers, else the variant's facts."""
        recipe = self.recipe
        path = recipe.settings.model.path or recipe.variant.path
        if path is not None:
            if path.startswith(ASSET_SCHEME):
                path = str(asset(path, recipe.config_dirs))
            return stored_weights(Path(path).expanduser())
        facts = recipe.variant.facts
        width = memory.item_bytes(facts.dtype)
        if facts.parameters is None or width is None:
            return None
        because = f"facts of variant {recipe.variant_name}"
        return Weights(facts.parameters, facts.parameters * width, because)

    @property
    def dtype(self) -> str:
        """Number format of what is not quantized."""
        chosen = self.recipe.quant.dtype or self.recipe.dtype
        return self.recipe.variant.facts.dtype if chosen == "auto" else chosen

    def of(self, command: Command | Skip, stage: Stage) -> Command | Skip:
        """Return the command with what its stage needs among its resources."""
        if isinstance(command, Skip) or self.weights is None or self.dtype == "auto":
            return command
        ram, disk = self._native(stage) if self.native else self._trtllm(stage)
        if not ram and not disk:
            return command
        resources = dataclasses.replace(command.resources, ram_bytes=ram, disk_bytes=disk)
        return dataclasses.replace(command, resources=resources)

    def llm_bytes(self, quant: str | None = None, dtype: str | None = None) -> int:
        """Return the language model's weights of all ranks; with the encoders' if not known apart.

        Args:
            quant: the format that the user chooses by ``quant``; the recipe's where ``None``.
            dtype: number format of what is not quantized; the recipe's where ``None``.
        """
        weights, choice = self.weights, self.recipe.settings.quant
        assert weights is not None
        quant = choice.name if quant is None else quant
        linear = self._linear(weights)
        others = weights.language - linear
        block = choice.block_size or BLOCK_SIZES.get(quant) if self.native else None
        return memory.quantized_bytes(linear, others, dtype or self.dtype, quant, block_size=block)

    def encoder_bytes(self, dtype: str | None = None) -> int:
        """Return the weights of the encoders and projectors; 0 where they are not known apart."""
        weights = self.weights
        assert weights is not None
        return memory.weights_bytes(weights.encoder or 0, dtype or self.dtype)

    def _linear(self, weights: Weights) -> int:
        """Return the weights that formats make small: at most all but embeddings and head."""
        if weights.linear is not None:
            return weights.linear
        facts = self.recipe.variant.facts
        return max(0, weights.language - 2 * (facts.vocab_size or 0) * (facts.hidden_size or 0))

    def _trtllm(self, stage: Stage) -> tuple[int, int]:
        """Return (host memory, disk) in bytes of a stage of TensorRT-LLM's tools."""
        assert self.weights is not None
        if isinstance(stage, Download):
            return 0, self._fetched(stage)
        if isinstance(stage, Convert):
            weight_only = stage.weight_only is not None
            converted = self.llm_bytes(None if weight_only else "none")
            ranks = stage.tp * stage.pp
            return memory.convert_ram_bytes(converted, ranks, workers(stage)), converted
        if isinstance(stage, Quantize):
            return 0, self.llm_bytes()
        if isinstance(stage, BuildLlm) and stage.part != "encoder":
            # Each rank's builder reads its part of the checkpoint; both halves of a model with an
            # encoder are counted with its decoder.
            return self.llm_bytes(), self.llm_bytes()
        if isinstance(stage, BuildVision):
            return 0, self.encoder_bytes()
        return 0, 0

    def _native(self, stage: Stage) -> tuple[int, int]:
        """Return (host memory, disk) in bytes of a stage of :mod:`mmtrt.native`."""
        if isinstance(stage, Download):
            return 0, self._fetched(stage)
        if isinstance(stage, Convert):
            return 0, self.llm_bytes("none") + self.encoder_bytes()
        if isinstance(stage, Quantize):
            # The model runs in float32, beside an encoder that goes before it.
            whole = self.llm_bytes("none", TRACED) if stage.format in CALIBRATED else 0
            return whole and NATIVE_BUILD_BASE + whole, self.llm_bytes()
        if isinstance(stage, BuildLlm) and stage.engine == AOT_ENGINE:
            # Merged weights in the type asked for; the checkpoint's own are pages of its file.
            return NATIVE_BUILD_BASE + self.llm_bytes(), self.llm_bytes()
        if isinstance(stage, BuildLlm):
            held, written = self.llm_bytes(dtype=TRACED), self.llm_bytes()
            return _export_ram(held, written), written
        if isinstance(stage, BuildVision) and self.encoder_bytes():
            held, written = self.encoder_bytes(TRACED), self.encoder_bytes()
            return _export_ram(held, written), written
        if isinstance(stage, Eval) and stage.test_hf:
            # transformers holds the whole model as it computes with it, beside the engines.
            whole = self.llm_bytes("none", TRACED) + self.encoder_bytes(TRACED)
            return NATIVE_BUILD_BASE + self.llm_bytes() + self.encoder_bytes() + whole, 0
        if isinstance(stage, (Run, Eval)):
            return NATIVE_RUN_BASE + self.llm_bytes() + self.encoder_bytes(), 0
        return 0, 0

    def _fetched(self, stage: Download) -> int:
        """Return what comes from a hub; what is here already is only linked."""
        assert self.weights is not None
        is_model = stage.repo_id is not None and stage.repo_id == self.recipe.variant.repo_id
        return self.weights.stored_bytes if is_model else 0


def workers(stage: Convert) -> int:
    """Return how many ranks a conversion works on at a time."""
    stated = stage.flags.get("workers")
    if isinstance(stated, int):
        return max(1, stated)
    return ENC_DEC_WORKERS if "enc_dec" in (stage.script or "") else 1


def _export_ram(held: int, written: int) -> int:
    copies = NATIVE_BUILD_COPIES if written <= EXTERNAL_DATA_BYTES else 1
    return NATIVE_BUILD_BASE + copies * (held + written)
