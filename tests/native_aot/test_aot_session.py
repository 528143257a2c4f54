from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mmtrt.native.errors import NativeError
from mmtrt.native.sampling import Sampling

# Compiling the packages takes a minute.
pytestmark = pytest.mark.slow

VOCAB, ROWS, HIDDEN, STEPS = 384, 36, 128, 10


def requests(count: int) -> tuple[list[list[int]], torch.Tensor]:
    """Prompts of different lengths, the longer ones with an image, and the prompt table."""
    make = torch.Generator().manual_seed(7)
    lengths = (44, 1, 57)[:count]
    prompts = [torch.randint(5, VOCAB, (length,), generator=make).tolist() for length in lengths]
    for row, prompt in enumerate(prompts):
        if len(prompt) > ROWS:
            prompt[3 : 3 + ROWS] = range(VOCAB + row * ROWS, VOCAB + (row + 1) * ROWS)
    return prompts, torch.randn((count * ROWS, HIDDEN), generator=make) * 0.05


def logits_of(model: Any, prompt: list[int], table: torch.Tensor) -> torch.Tensor:
    """What transformers gives for one whole, unpadded text."""
    ids = torch.tensor([prompt])
    text = model.get_input_embeddings()(ids.clamp(max=VOCAB - 1))
    embeds = torch.where((ids >= VOCAB)[..., None], table[(ids - VOCAB).clamp(min=0)], text)
    with torch.no_grad():
        hidden = model.model.language_model(inputs_embeds=embeds).last_hidden_state
        return model.lm_head(hidden[:, -1])[0]


@pytest.mark.parametrize("count", [1, 3])
def test_logits_of_every_step_equal_transformers(session: Any, reference: Any, count: int) -> None:
    prompts, table = requests(count)
    texts = [list(prompt) for prompt in prompts]
    logits = session.prefill(prompts, table, new_tokens=STEPS)
    for step in range(STEPS):
        expected = torch.stack([logits_of(reference, text, table) for text in texts])
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
        tokens = expected.argmax(-1).tolist()
        for text, token in zip(texts, tokens):
            text.append(token)
        if step < STEPS - 1:
            logits = session.decode(tokens)


def test_the_cache_is_written_in_place_and_nowhere_else(session: Any) -> None:
    prompts, table = requests(3)
    for each in (*session._keys, *session._values):
        each.zero_()
    session.prefill(prompts, table, new_tokens=2)
    before = [each.clone() for each in (*session._keys, *session._values)]
    places = [each.data_ptr() for each in (*session._keys, *session._values)]
    session.decode()
    after = [*session._keys, *session._values]
    assert [each.data_ptr() for each in after] == places
    for old, new in zip(before, after):
        changed = (old != new).any(-1).any(1).nonzero().tolist()
        assert changed == [[row, len(prompt)] for row, prompt in enumerate(prompts)]


def test_a_batch_does_not_see_the_one_before(session: Any) -> None:
    prompts, table = requests(3)
    first = session.generate(prompts, table, max_new_tokens=4, keep_logits=True)
    session.generate([prompt[::-1] for prompt in prompts], table, max_new_tokens=20)
    again = session.generate(prompts, table, max_new_tokens=4, keep_logits=True)
    assert first.token_ids == again.token_ids
    assert all((a == b).all() for a, b in zip(first.logits, again.logits))


def test_greedy_on_the_device_and_sampling_on_the_host_agree(session: Any) -> None:
    prompts, table = requests(2)
    greedy = session.generate(prompts, table, max_new_tokens=12)
    # A penalty that changes nothing still takes the path through the host.
    sampled = session.generate(
        prompts, table, max_new_tokens=12, sampling=Sampling(repetition_penalty=1 + 1e-12)
    )
    assert sampled.token_ids == greedy.token_ids
    assert sampled.finish_reasons == greedy.finish_reasons
    assert "eos" in greedy.finish_reasons


def test_weights_are_one_copy(session: Any) -> None:
    assert set(session._packages) == {"prompt", "token"}
    names = [set(package.get_constant_fqns()) for package in session._packages.values()]
    assert names[0] == names[1] == set(session._weights)


@pytest.mark.parametrize(
    ("prompts", "new_tokens", "code"),
    [
        ([[5]] * 4, 1, "RUN201"),
        ([[5] * 65], 1, "RUN203"),
        ([[5] * 64], 33, "RUN204"),
        ([[5] * 61] * 3, 1, "RUN205"),
        ([[VOCAB] * 37], 1, "RUN206"),
        ([[5, VOCAB]], 1, "RUN212"),
        ([[-1]], 1, "RUN212"),
        ([[]], 1, "RUN212"),
    ],
)
def test_what_exceeds_a_limit_is_refused(
    session: Any, prompts: list[list[int]], new_tokens: int, code: str
) -> None:
    with pytest.raises(NativeError) as refused:
        session.prefill(prompts, new_tokens=new_tokens)
    assert refused.value.code == code


def test_a_full_cache_is_refused_and_its_last_place_is_used(session: Any) -> None:
    session.prefill([[5] * 64], new_tokens=32)
    for _ in range(32):
        session.decode()
    with pytest.raises(NativeError) as refused:
        session.decode()
    assert refused.value.code == "RUN204"


def test_packages_of_another_machine_are_refused(packages: Path, tmp_path: Path) -> None:
    from mmtrt.native.aot_session import AotSession

    config = (packages / "aot.json").read_text()
    (tmp_path / "aot.json").write_text(config.replace('"capability": "', '"capability": "not '))
    with pytest.raises(NativeError, match="compiled with capability not"):
        AotSession(tmp_path)
