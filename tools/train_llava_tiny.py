"""Train the tiny LLaVA of ``recipes/assets`` from nothing: draw, train, measure, write.

Owns the command line and the order of the steps; each step lives in ``llava_tiny/``.

    python tools/train_llava_tiny.py --out outputs/llava_tiny --quick
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

HELD_OUT = 600
QUICK_HELD_OUT = 10
# The model's own size, and one that the processor has to shrink.
HELD_OUT_PX = (48, 224)
DIGEST_PICTURES = 8


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Train a tiny LLaVA on synthetic pictures and write it in Hugging Face layout.",
        epilog="example: python tools/train_llava_tiny.py --out outputs/llava_tiny --quick",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the model and its card")
    parser.add_argument(
        "--pictures", type=Path, help="folder for the dozen sample pictures (default: none drawn)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of data and weights (default: 0)")
    parser.add_argument(
        "--threads",
        type=int,
        default=2,
        help="CPU threads; take 1 where others use the machine (default: 2)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="train for a few steps only, to see that everything runs; the answers are noise",
    )
    return parser.parse_args(arguments)


def _peak_rss_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, KiB on Linux.
    return float(peak / 2**20 if sys.platform == "darwin" else peak / 2**10)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all steps; the numbers of the card come from this one run."""
    options = parse(arguments)
    started = time.monotonic()

    def log(text: str) -> None:
        print(f"[{time.monotonic() - started:5.0f} s] {text}", flush=True)

    # Imported late so that --help answers at once.
    import torch
    import transformers
    from llava_tiny import card, checkpoint, evaluate, pictures, train
    from llava_tiny.questions import prompt
    from PIL import Image

    from mmtrt.native import shapes
    from mmtrt.native.shapes import QUESTIONS

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    transformers.utils.logging.disable_progress_bar()
    schedule = train.QUICK if options.quick else train.FULL

    processor = checkpoint.build_processor()
    model = checkpoint.build_model(processor)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    log(f"{parameters} parameters, {len(processor.tokenizer)} tokens")

    stream = shapes.scenes(options.seed, "train")
    began = time.monotonic()
    train.train_tower(model, processor, stream, schedule, log)
    tower_s, began = time.monotonic() - began, time.monotonic()
    train.train_jointly(model, processor, stream, schedule, log)
    joint_s = time.monotonic() - began

    checkpoint.write(options.out, model, processor)
    # Measure what was written, not what is in memory: that is what others will load.
    model = transformers.LlavaForConditionalGeneration.from_pretrained(options.out)
    processor = transformers.AutoProcessor.from_pretrained(options.out)
    processor.tokenizer.padding_side = "left"

    count = QUICK_HELD_OUT if options.quick else HELD_OUT
    held_out = list(islice(shapes.scenes(options.seed, "held-out"), count))
    accuracies = {}
    for side_px in HELD_OUT_PX:
        accuracies[str(side_px)] = evaluate.accuracy(model, processor, held_out, side_px)
        log(f"held-out, {count} pictures of {side_px} px: {accuracies[str(side_px)]}")
    drawn = (
        schedule.tower_steps * schedule.tower_batch + schedule.joint_steps * schedule.joint_batch
    )
    unseen = set(held_out)
    seen = sum(scene in unseen for scene in islice(shapes.scenes(options.seed, "train"), drawn))

    weights = options.out / "model.safetensors"
    vision, text = model.config.vision_config, model.config.text_config
    metrics: dict[str, Any] = {
        "seed": options.seed,
        "quick": options.quick,
        "parameters": parameters,
        "weights_bytes": weights.stat().st_size,
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "first_pictures_sha256": shapes.digest(
            options.seed, "train", DIGEST_PICTURES, checkpoint.IMAGE_PX
        ),
        "training_pictures": drawn,
        "held_out": {"count": count, "seen_in_training": seen, "accuracy": accuracies},
        "sizes": {
            "image_px": vision.image_size,
            "patch_px": vision.patch_size,
            "image_tokens": checkpoint.IMAGE_TOKENS,
            "feature_layer": model.config.vision_feature_layer,
            "vision_layers": vision.num_hidden_layers,
            "vision_hidden": vision.hidden_size,
            "vision_heads": vision.num_attention_heads,
            "text_layers": text.num_hidden_layers,
            "text_hidden": text.hidden_size,
            "text_heads": text.num_attention_heads,
            "key_value_heads": text.num_key_value_heads,
            "text_mlp": text.intermediate_size,
            "positions": text.max_position_embeddings,
            "vocab": text.vocab_size,
        },
        "schedule": dataclasses.asdict(schedule),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    if options.pictures:
        pictures.write(options.pictures, options.seed)
        told: dict[str, dict[str, str]] = {}
        for path in sorted(options.pictures.glob("*.png")):
            image = Image.open(path)
            prompts = [prompt(kind) for kind in QUESTIONS]
            answers = evaluate.ask(model, processor, [image] * len(prompts), prompts)
            told[path.name] = dict(zip(QUESTIONS.values(), answers, strict=True))
        metrics["pictures"] = {
            "count": len(pictures.LOOKS),
            "answers": len(pictures.LOOKS) * len(QUESTIONS),
            "right": pictures.count_right(told, options.pictures),
        }
        log(f"sample pictures: {metrics['pictures']}")
    metrics["cost"] = {
        "tower_s": round(tower_s, 1),
        "joint_s": round(joint_s, 1),
        "total_s": round(time.monotonic() - started, 1),
        "cpu_s": round(_cpu_s(), 1),
        "rss_mib": round(_peak_rss_mib(), 1),
        "threads": options.threads,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        # Above the number of threads: others used the machine, and the seconds say little.
        "load_average": round(os.getloadavg()[1], 1),
    }
    (options.out / "metrics.json").write_text(
        json.dumps(metrics, indent=2) + "\n", encoding="utf-8"
    )
    (options.out / "README.md").write_text(card.render(metrics), encoding="utf-8")
    log(f"written to {options.out}, peak memory {metrics['cost']['rss_mib']} MiB")


if __name__ == "__main__":
    main()
