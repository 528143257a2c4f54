"""Numbers of published models, as their recipes state them, for tests of the calculators."""

from __future__ import annotations

from mmtrt.sizing.features import VisionShape

LLAVA_NEXT_PINPOINTS = ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))
ONEVISION_PINPOINTS = tuple((384 * h, 384 * w) for h in range(1, 7) for w in range(1, 7))

SHAPES = {
    "blip2": VisionShape((224, 224), 14, image_tokens=32),
    "cogvlm": VisionShape((490, 490), 14, image_tokens=1280),
    "deplot": VisionShape(patch_size=16, max_patches=2048),
    "fuyu": VisionShape((1080, 1920), 30),
    "gemma3": VisionShape((896, 896), 14, image_tokens=256),
    "internlm_xcomposer2": VisionShape((490, 490), 14),
    "internvl2": VisionShape((448, 448), 14, image_tokens=256, max_tiles=12),
    "kosmos2": VisionShape((224, 224), 14, image_tokens=64),
    "llava": VisionShape((336, 336), 14),
    "llava_next": VisionShape((336, 336), 14, LLAVA_NEXT_PINPOINTS),
    "llava_onevision": VisionShape((384, 384), 14, ONEVISION_PINPOINTS, max_tiles=9),
    "mllama": VisionShape((448, 448), 14, max_tiles=4),
    "neva": VisionShape((384, 384), 14),
    "nougat": VisionShape((896, 672), 4),
    "phi3_vision": VisionShape((336, 336), 14, max_tiles=16),
    "phi4_multimodal": VisionShape((448, 448), 14, max_tiles=36),
    "qwen2_vl": VisionShape(
        (504, 504), 14, spatial_merge_size=2, min_pixels=3136, max_pixels=12845056
    ),
    "video_neva": VisionShape(num_frames=12, frame_tokens=256),
    "vila": VisionShape(image_tokens=196),
}
