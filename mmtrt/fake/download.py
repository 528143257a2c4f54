"""``download``: write a directory that looks like a model's repository; nothing is fetched.

It takes the flags of ``mmtrt.tasks.download``. The family is that of ``MMTRT_FAKE``, unless the
repository is one of those that only give a tokenizer (``vicuna``).
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmtrt.fake import families, files, log, settings
from mmtrt.fake.failure import require

NUMBERS = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "max_position_embeddings", "vocab_size"),
)
VISUAL_PY = [
    "# Stand-in of CogVLM's vision encoder: only the lines that the README's patch looks for.",
    *["import torch", "from torch import nn", "import xformers.ops as xops"],
    *["# stand-in"] * 35,
    "        out = xops.memory_efficient_attention(",
    "            q, k, v, scale=self.scale,",
    "        )",
]
"""Line 4 and lines 40 to 42 are those that the README's ``sed`` changes."""


def run(tool: str, words: Sequence[str]) -> int:
    """Write the stand-in of a repository."""
    parser = argparse.ArgumentParser(prog=tool)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--repo-id")
    parser.add_argument("--local-dir")
    parser.add_argument("--revision")
    parser.add_argument("--repo-type", default="model")
    parser.add_argument("--include", nargs="+", action="extend", default=[])
    parser.add_argument("--exclude", nargs="+", action="extend", default=[])
    parser.add_argument("--allow-pickle", action="store_true")
    parser.add_argument("--hub-cache", action="store_true")
    args = parser.parse_args(list(words))
    name = args.repo_id or args.local_dir
    require(name, "ValueError", "one of --repo-id and --local-dir is needed")
    played = settings.read()
    if args.hub_cache:
        place = args.output_dir / "--".join(["models", *name.split("/")])
        for path, text in (("refs/main", args.revision), (f"snapshots/{args.revision}/file", name)):
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text(text, encoding="utf-8")
        log.plain(f"stand-in of {name} written: a cache of the hub")
        return 0
    family = "llama" if "vicuna" in name.lower() else played.family or "llava"
    for path, content in repository(family, name, str(args.revision), played.facts).items():
        if _wanted(path, args.include, args.exclude):
            target = args.output_dir / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    log.plain(f"stand-in of {name} written: family {family}")
    return 0


def _wanted(path: str, include: list[str], exclude: list[str]) -> bool:
    def matches(patterns: list[str]) -> bool:
        return any(fnmatch.fnmatch(path, p) or fnmatch.fnmatch(path, f"{p}/*") for p in patterns)

    return (not include or matches(include)) and not matches(exclude)


def repository(family: str, repo_id: str, revision: str, facts: dict[str, Any]) -> dict[str, bytes]:
    """Return the files of a repository's stand-in, by path."""
    kind = families.named(family)
    name = repo_id.rsplit("/", 1)[-1]
    seed = files.digest(repo_id, revision)
    if kind.is_nemo:
        return {f"{name.removesuffix('.nemo')}.nemo": b"mmtrt fake nemo\n" + seed.encode()}
    found = {
        "config.json": _json(config(family, name, facts)),
        "generation_config.json": _json({}),
        "model.safetensors": files.safetensors("model.fake", seed),
        "preprocessor_config.json": _json({"size": facts.get("image_size")}),
        "README.md": f"Stand-in of {repo_id}.\n".encode(),
    }
    folder = "llm/" if family == "vila" else ""
    if kind.has_tokenizer:
        found[f"{folder}tokenizer_config.json"] = _json({"tokenizer_class": "FakeTokenizer"})
        found[f"{folder}tokenizer.model"] = b"mmtrt fake tokenizer\n"
    if family == "cogvlm":
        found["visual.py"] = ("\n".join(VISUAL_PY) + "\n").encode()
        found["modeling_cogvlm.py"] = b"# stand-in\n"
    if family == "phi4_multimodal":
        found["examples/what_is_shown_in_this_image.wav"] = wav(1)
    return found


def config(family: str, name: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Return ``config.json`` of a checkpoint: what the tools read of it, facts and family."""
    kind = families.named(family)
    text = {key: facts[key] for key in NUMBERS if facts.get(key) is not None}
    text["architectures"] = [families.language_model(name, family)]
    if family == "llava_next":
        text["_name_or_path"] = families.template_name(name)
    size = facts.get("image_size") or [None]
    found: dict[str, Any] = {
        "architectures": [kind.architecture],
        "torch_dtype": facts.get("dtype", "float16"),
        "vision_config": {"image_size": size[0], "patch_size": facts.get("patch_size")},
        "family": family,
        "facts": facts,
    }
    stated = settings.read().hf_model_type
    hf_type = kind.hf_type if stated == "" or family == "llama" else stated
    if hf_type is not None:
        found["model_type"] = hf_type
    if kind.text_key:
        found[kind.text_key] = text
    else:
        found |= {key: value for key, value in text.items() if key != "architectures"}
    return found


def wav(seconds: int) -> bytes:
    """Return a silent sound."""
    rate = 8000
    data = b"\x80" * (rate * seconds)
    layout = struct.pack("<IHHIIHH", 16, 1, 1, rate, rate, 1, 8)
    head = b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + layout
    return head + b"data" + struct.pack("<I", len(data)) + data


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps({"fake": True, **document}, indent=2, sort_keys=True) + "\n").encode()
