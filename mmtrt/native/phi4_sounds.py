"""What Phi-4-multimodal hears: a spectrogram from transformers' extractor, and its encoder's graph.

One sound a call. transformers adds the mask of a padded batch as 1 and 0 to the scores, so that a
sound beside a longer one is not answered as it is alone; here it always is.

Source: transformers 5.23, models/phi4_multimodal (feature extraction and modeling).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmtrt.native.errors import NativeError
from mmtrt.native.graph import TRACED_BATCH, Graph
from mmtrt.native.sound_file import Sound

CHUNK_ROWS = 500
"""Rows that attend to each other; the rows of a longer sound (40 s) are cut into such chunks.

Source: ``max_seq_len`` in ``Phi4MultimodalAudioModel.forward``.
"""
FRAMES_PER_ROW = 8
_TRACED_FRAMES = 61
_TRACED_CHUNK = 5


class SoundEncoder(nn.Module):
    """Encoder and both projectors of one sound.

    ``frames [1, F, 80], places [C, L] -> features [C * L, D], beside_pictures [C * L, D]``. Row
    ``places[c, l]`` of the ceil(F / 8) that the convolutions give stands at place l of chunk c; the
    row after the last one is zeros.
    """

    def __init__(self, embed: Any) -> None:
        """Take the audio part of a transformers model."""
        super().__init__()
        self.embed = embed

    def forward(
        self, frames: torch.Tensor, places: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the features of a sound alone, and those of the same one beside pictures."""
        embed, encoder = self.embed, self.embed.encoder
        rows, _ = encoder.embed(encoder.encoder_embedding(frames), None)
        chunks = nn.functional.pad(rows[0], (0, 0, 0, 1))[places]
        # All rows of a chunk are seen, which transformers writes as one more on every score.
        bias = encoder.relative_attention_bias_layer(chunks) + 1.0
        for layer in encoder.encoders:
            chunks = layer(chunks, bias)
        flat = chunks.flatten(0, 1)

        def projected(up: Any, down: Any) -> torch.Tensor:
            found: torch.Tensor = down(nn.functional.gelu(up(flat)))
            return found

        return (
            projected(embed.up_proj_for_speech, embed.down_proj_for_speech),
            projected(embed.up_proj_for_vision_speech, embed.down_proj_for_vision_speech),
        )


def sound_graph(embed: Any) -> Graph:
    """Return the graph of the audio part of a transformers model."""
    sides = {0: torch.export.Dim("chunks"), 1: torch.export.Dim("chunk_rows")}
    return Graph(
        module=SoundEncoder(embed),
        args=(
            torch.zeros(1, _TRACED_FRAMES, embed.config.audio_config.input_size),
            torch.zeros((TRACED_BATCH, _TRACED_CHUNK), dtype=torch.int64),
        ),
        dynamic_shapes=({1: torch.export.Dim("frames")}, sides),
        input_names=["frames", "places"],
        output_names=["features", "beside_pictures"],
    )


def check_hearing(config: Any) -> None:
    """Refuse an encoder that hears in another way.

    Raises:
        NativeError: MDL208.
    """
    audio = config.audio_config
    if audio.chunk_size > 0 or audio.time_reduction != FRAMES_PER_ROW:
        raise NativeError(
            f"a sound encoder with chunks of {audio.chunk_size} rows, one for "
            f"{audio.time_reduction} frames",
            code="MDL208",
            why=f"the family sees whole sounds, with one row for {FRAMES_PER_ROW} frames",
        )


def load_extractor(model_dir: Path) -> Any:
    """Return transformers' feature extractor with the settings of a model directory.

    Raises:
        NativeError: RUN214, if it has others than this one knows.
    """
    from transformers import Phi4MultimodalFeatureExtractor

    if not any(
        (model_dir / f"{name}_config.json").is_file() for name in ("preprocessor", "processor")
    ):
        return Phi4MultimodalFeatureExtractor()
    try:
        return Phi4MultimodalFeatureExtractor.from_pretrained(model_dir)
    except (OSError, ValueError, TypeError) as error:
        raise NativeError(f"{model_dir}: no feature extractor: {error}", code="RUN214") from error


def spectrogram(extractor: Any, sound: Sound) -> dict[str, Any]:
    """Return what the model takes of one sound, by name: frames and the number of its rows.

    Raises:
        NativeError: RUN216, if it is shorter than one frame.
    """
    if len(sound.samples) < extractor.win_length:
        raise NativeError(
            f"a sound of {len(sound.samples)} samples is too short",
            code="RUN216",
            why=f"the first frame of its spectrogram takes {extractor.win_length}",
        )
    made = extractor(sound.samples, sampling_rate=sound.rate, return_tensors="np")
    return {name: made[name] for name in ("audio_input_features", "audio_embed_sizes")}


def engine_inputs(frames: Any) -> dict[str, Any]:
    """Return the inputs of :class:`SoundEncoder` for frames ``[1, F, 80]``."""
    import numpy as np

    rows = -(-frames.shape[1] // FRAMES_PER_ROW)
    chunk = min(rows, CHUNK_ROWS)
    places = np.arange(-(-rows // chunk) * chunk).clip(max=rows)
    return {
        "frames": np.ascontiguousarray(frames, np.float32),
        "places": places.reshape(-1, chunk),
    }
