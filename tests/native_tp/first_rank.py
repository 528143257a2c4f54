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
    from mmtrt.native.sampling import Sampling

    texts, pictures, new_tokens = json.loads(asked)
    session = MultimodalSession(Path(engines), Path(model))
    # A penalty that changes nothing takes the path through the host.
    ways = {"greedy": Sampling(), "sampled": Sampling(repetition_penalty=1 + 1e-12)}
    tokens = {}
    for name, sampling in ways.items():
        generation = session.answer(
            texts, pictures, max_new_tokens=new_tokens, sampling=sampling, keep_logits=True
        ).generation
        tokens[name] = generation.token_ids
    np.savez(output, logits=np.stack(generation.logits))
    Path(output).with_suffix(".json").write_text(json.dumps(tokens))
    return 0


if __name__ == "__main__":
    as_rank(lambda: answer(*sys.argv[1:]))
