"""Sounds made here, and a tiny family that is played them."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.native.families import CASES, NEW_TOKENS, Built

RATE = 16_000
FULL = {2: 2**15, 4: 2**31}
MOST_ROWS = 1500
"""Rows of the prompt table of one request."""


def chirp(samples: int, seed: int = 0, rate: int = RATE) -> Any:
    """Return float64 ``[S]``: a rising tone in noise."""
    seconds = np.arange(samples) / rate
    tone = 0.4 * np.sin(2 * np.pi * (200 + 40 * seed + 300 * seconds) * seconds)
    return tone + 0.05 * np.random.default_rng(seed).standard_normal(samples)


def write_wave(path: Path, samples: Any, *, width: int = 2, rate: int = RATE) -> str:
    """Write PCM of 16 or 32 bits; ``samples`` is ``[S]`` or ``[S, channels]``, from -1 to 1."""
    shown = np.asarray(samples).reshape(len(samples), -1)
    full = FULL[width]
    whole = (shown * full).round().clip(-full, full - 1).astype(f"<i{width}")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(shown.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(whole.tobytes())
    return str(path)


def make_loud(directory: Path) -> None:
    """Put a larger random sound encoder into a tiny model: 3 blocks, 2 heads, a real mean."""
    import torch
    import transformers as tf

    config = tf.Phi4MultimodalConfig.from_pretrained(directory)
    config.audio_config.num_blocks = 3
    config.audio_config.num_attention_heads = 2
    config.audio_config.bias_max_distance = 20
    torch.manual_seed(3)
    model = tf.Phi4MultimodalForCausalLM(config)
    kept = tf.Phi4MultimodalForCausalLM.from_pretrained(directory).state_dict()
    state = model.state_dict()
    for name, tensor in state.items():
        if ".audio_embed." not in name:
            state[name] = kept[name]
        elif name.endswith("global_mean"):
            state[name] = torch.linspace(2, 12, len(tensor))
        elif name.endswith("global_invstd"):
            state[name] = torch.linspace(0.3, 0.6, len(tensor))
        else:
            state[name] = torch.randn(tensor.shape) * (0.25 if tensor.ndim > 1 else 0.3)
    model.load_state_dict(state)
    model.save_pretrained(directory)


class Sounds(Built):
    """Phi-4-multimodal with what hears."""

    def __init__(self, directory: Path, model: str, engine: str) -> None:
        self.model = model
        super().__init__(CASES["phi4_multimodal"], directory, engine)

    def _build(self) -> None:
        from mmtrt.native import build_vision, convert

        if self.model == "loud":
            make_loud(self.model_dir)
        places = ("--model-dir", self.model_dir, "--output-dir", self.checkpoint)
        self.stage(convert, *places, "--media", "audio")
        places = ("--checkpoint-dir", self.checkpoint / "vision")
        places += ("--output-dir", self.engines / "vision")
        self.stage(build_vision, *places, "--max-batch-size", 16, "--media", "audio")
        self.build_llm(self.checkpoint / "llm", self.engines / "llm")

    def sound(self, directory: Path, samples: int, seed: int = 0) -> str:
        """Return a file of so many samples."""
        return write_wave(directory / f"{samples}_{seed}.wav", chirp(samples, seed))

    def answered(
        self,
        texts: Sequence[str],
        sounds: Sequence[str],
        pictures: Sequence[Sequence[str]] = (),
        **how: Any,
    ) -> Any:
        """Answer with the engines."""
        how = {"max_new_tokens": NEW_TOKENS, **how}
        return self.session.answer(texts, pictures, sound_paths=sounds, keep_logits=True, **how)

    def generated(self, text: str, sound: str, pictures: Sequence[str] = (), **flags: Any) -> Any:
        """Answer one request with transformers: tokens ``[steps]``, logits ``[steps, V]``.

        The prompt is put together here; of the port only the preparation of pictures is used.
        """
        import transformers
        from PIL import Image

        with wave.open(sound, "rb") as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 2.0**15
        extractor = transformers.Phi4MultimodalFeatureExtractor()
        heard = extractor(samples, sampling_rate=RATE, return_tensors="pt")
        rows = int(heard["audio_embed_sizes"][0])
        images = [Image.open(path) for path in pictures]
        kinds = [*["image"] * len(images), "audio"]
        given = self._inputs_of_phi4(self.reference, [text], [images], kinds, {"audio": rows})
        tokens, logits = self.reference.generate_from(
            {**given, **heard}, new_tokens=NEW_TOKENS, **flags
        )
        return tokens[0], logits[0]
