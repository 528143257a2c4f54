"""The table of tools: the name on the command line and the module that plays it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from mmtrt.fake import log
from mmtrt.fake.failure import ToolFailure, UsageFailure

CONVERT = "mmtrt.fake.convert"

TOOLS = {
    "models/core/llama/convert_checkpoint.py": CONVERT,
    "models/core/qwen/convert_checkpoint.py": CONVERT,
    "models/core/gpt/convert_checkpoint.py": CONVERT,
    "models/core/phi/convert_checkpoint.py": CONVERT,
    "models/core/mllama/convert_checkpoint.py": CONVERT,
    "models/core/internlm2/convert_checkpoint.py": CONVERT,
    "models/core/enc_dec/convert_checkpoint.py": CONVERT,
    "models/contrib/opt/convert_checkpoint.py": CONVERT,
    "models/contrib/cogvlm/convert_checkpoint.py": CONVERT,
    "quantization/quantize.py": "mmtrt.fake.quantize",
    "models/core/multimodal/build_multimodal_engine.py": "mmtrt.fake.build_vision",
    "models/core/multimodal/run.py": "mmtrt.fake.run",
    "models/core/multimodal/eval.py": "mmtrt.fake.eval",
    "llm-api/quickstart_multimodal.py": "mmtrt.fake.quickstart",
    "trtllm-build": "mmtrt.fake.build_llm",
    "trtllm-serve": "mmtrt.fake.serve",
    "mpirun": "mmtrt.fake.mpirun",
    "download": "mmtrt.fake.download",
    "clone": "mmtrt.fake.clone",
}
"""A path below ``examples/`` for a script. Each module has ``run(tool, words) -> exit status``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Play one tool; return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in TOOLS:
        asked = f"no stand-in for {words[0]!r}" if words else "which tool?"
        sys.stderr.write(f"mmtrt.fake: {asked}; there are:\n  " + "\n  ".join(TOOLS) + "\n")
        return 2
    tool, *rest = words
    log.set_level("info")
    module = importlib.import_module(TOOLS[tool])
    try:
        status: int = module.run(tool, rest)
    except (ToolFailure, UsageFailure) as failure:
        sys.stdout.flush()
        sys.stderr.write(failure.render() + "\n")
        return failure.exit_code
    return status
