"""Rank 0 of a test: answer two requests with engines and keep tokens and logits."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mmtrt.native.rank_launch import as_rank


def answer(engines: str, model: str, output: str, asked: str) -> int:
    """Write ``found.npz``."""
    import numpy as np

    from mmtrt.native.multimodal_session import MultimodalSession

    texts, pictures, new_tokens = json.loads(asked)
    session = MultimodalSession(Path(engines), Path(model))
    generation = session.answer(
        texts, pictures, max_new_tokens=new_tokens, keep_logits=True
    ).generation
    np.savez(output, logits=np.stack(generation.logits))
    Path(output).with_suffix(".json").write_text(json.dumps(generation.token_ids))
    return 0


if __name__ == "__main__":
    as_rank(lambda: answer(*sys.argv[1:]))
