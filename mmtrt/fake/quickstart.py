"""``llm-api/quickstart_multimodal.py``: the PyTorch workflow, without engines.

Source: TensorRT-LLM 1.2, ``examples/llm-api/quickstart_multimodal.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmtrt.fake import files, log, model_dir, options, parser, pictures, settings
from mmtrt.fake.failure import require

PROMPTS: dict[str, tuple[str, ...]] = {
    "image": (
        "Describe the natural environment in the image.",
        "Describe the object and the weather condition in the image.",
        "Describe the traffic condition on the road in the image.",
    )
}
OTHER = ("Tell me what you see.", "Describe the scene briefly.")


def run(tool: str, words: Sequence[str]) -> int:
    """Answer the sample prompts, or those given."""
    flags = parser.read(tool, words)
    log.version()
    played = settings.read()
    require(played.gpus > 0, "RuntimeError", "No CUDA GPUs are available")
    model = model_dir.load(flags.text("--model_dir"))
    if model.family == "gemma3":
        options.require_gemma3(
            {
                "attn_backend": flags.text("--attention_backend"),
                "enable_chunked_prefill": flags.is_on("--enable_chunked_prefill"),
                "kv_cache_config": {
                    "enable_block_reuse": not flags.is_on("--disable_kv_cache_reuse")
                },
            }
        )
    tp = flags.count("--tp_size") or 1
    require(tp <= played.gpus, "RuntimeError", f"tp_size {tp} is larger than {played.gpus} GPUs")
    media = flags.words("--media") or []
    for path in media:
        if not path.startswith("http") and flags.text("--modality") == "image":
            pictures.size(path)
    asked = flags.words("--prompt") or PROMPTS.get(flags.text("--modality") or "image", OTHER)
    for index, prompt in enumerate(asked):
        answer = played.answer or f"fake answer {files.digest(model.digest(), prompt, media)[:8]}"
        log.plain(f"[{index}] Prompt: {prompt!r}, Generated text: {answer!r}")
    return 0
