"""Ask the engines one request, or one batch of them, and write the answers to result.json.

N texts and N images, or N videos, pair up, and so do N sounds beside images or without; a single
one is repeated to the size of the batch. With --batch-size there may be K images for each request:
the first K are the first one's. A text that holds the model's placeholder is used as it is; any
other is put into the model's own prompt.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from mmtrt.native.errors import NativeError, report
from mmtrt.native.flags import add_directory, positive, stage_parser
from mmtrt.native.hf_model import read_config
from mmtrt.native.hf_processor import leave_torch_out
from mmtrt.native.json_file import write_json
from mmtrt.native.multimodal_session import Answers, Clip, MultimodalSession
from mmtrt.native.progress import say
from mmtrt.native.rank_launch import in_ranks
from mmtrt.native.sampling import Sampling
from mmtrt.native.video_file import DEFAULT_FRAMES

RESULT_FILE = "result.json"
_SCHEMA = 1

# *Chosen*: enough for a stable median, short enough for a demonstration.
_PROFILED_RUNS = 10


def run(
    engine_dir: Path,
    model_dir: Path,
    output_dir: Path,
    *,
    texts: Sequence[str],
    image_paths: Sequence[str],
    video_paths: Sequence[str] = (),
    video_frames: int | None = None,
    audio_paths: Sequence[str] = (),
    batch_size: int | None,
    max_new_tokens: int,
    sampling: Sampling,
    run_profiling: bool,
) -> None:
    """Answer a batch and write ``result.json``.

    Raises:
        NativeError: ART203, MDL201 or RUN2xx, if engines, model or request cannot be used.
    """
    read_config(model_dir)
    if video_paths:
        texts, videos = pair_up(texts, video_paths, batch_size, flag="--video-path", most=1)
        paths = [[*image_paths] for _ in texts]
        say(f"answering {len(texts)} requests with {len(videos)} videos")
    else:
        texts, paths = pair_up(texts, image_paths, batch_size)
        videos = []
        say(f"answering {len(texts)} requests with {sum(map(len, paths))} images")
    texts, paths, sounds = _with_sounds(texts, paths, audio_paths, batch_size)
    clips = [Clip(path, video_frames) for each in videos for path in each]
    session = MultimodalSession(engine_dir, model_dir)

    def answer() -> Answers:
        return session.answer(
            texts,
            paths,
            clips=clips,
            sound_paths=sounds,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
        )

    answers = answer()
    timings = {**_timings(answers), "load_ms": round(session.engines.load_ms, 3)}
    if run_profiling:
        say(f"profiling: {_PROFILED_RUNS} more runs")
        profiled = [_timings(answer()) for _ in range(_PROFILED_RUNS)]
        for name in ("vision_ms", "audio_ms", "prefill_ms", "decode_ms_per_token"):
            if name in timings:
                timings[name] = round(median(run[name] for run in profiled), 3)
        timings["profiled_runs"] = _PROFILED_RUNS
    output_dir.mkdir(parents=True, exist_ok=True)
    write_json(output_dir / RESULT_FILE, _result(answers, timings))
    for one in answers.answers:
        shown = [one.video or ", ".join(one.images), one.audio]
        say(f"{', '.join(filter(None, shown)) or 'no image'}: {one.text}")


def _with_sounds(
    texts: Sequence[str],
    paths: Sequence[list[str]],
    audio_paths: Sequence[str],
    batch_size: int | None,
) -> tuple[list[str], list[list[str]], list[str]]:
    """Return texts and pictures of each request, repeated for the sounds, and its sound."""
    if not audio_paths:
        return [*texts], [*paths], []
    asked, each = pair_up(texts, audio_paths, batch_size, flag="--audio-path", most=1)
    say(f"with {len(each)} sounds")
    return asked, [*paths] * (len(asked) // len(paths)), [path for (path,) in each]


def pair_up(
    texts: Sequence[str],
    paths: Sequence[str],
    batch_size: int | None,
    *,
    flag: str = "--image-path",
    most: int | None = None,
) -> tuple[list[str], list[list[str]]]:
    """Return the text and the files of each request; a single one of either is repeated.

    Args:
        texts: the questions.
        paths: images, videos or sounds.
        batch_size: requests, where it is stated.
        flag: that gave the paths.
        most: files of one request; any number where ``None``.

    Raises:
        NativeError: RUN211, if the counts cannot be paired.
    """
    counts = {"--input-text": len(texts), flag: len(paths)}
    batch = batch_size or max(counts.values())
    each = len(paths) // batch if batch_size and len(paths) % batch == 0 else 1
    each = each if most is None else min(each, most)
    for name, count in counts.items():
        if count > 1 and count != batch * (each if name == flag else 1):
            other = f"--batch-size is {batch}" if batch_size else f"there are {batch} requests"
            raise NativeError(
                f"{name} has {count} values, {other}",
                code="RUN211",
                why="texts and files pair up one to one; only a single one is repeated",
                fix=f"give {name} once, or {batch} times",
            )
    asked = [*texts] * (batch if len(texts) == 1 else 1)
    if each > 1:
        return asked, [[*paths[i * each : (i + 1) * each]] for i in range(batch)]
    shown = [*paths] * (batch if len(paths) == 1 else 1)
    return asked, [[path] for path in shown] or [[] for _ in asked]


def _timings(answers: Answers) -> dict[str, Any]:
    generation = answers.generation
    return {
        "vision_ms": round(answers.vision_ms, 3),
        **({"audio_ms": round(answers.audio_ms, 3)} if answers.audio_ms else {}),
        "prefill_ms": round(generation.prefill_ms, 3),
        "decode_ms_per_token": round(fmean(generation.decode_ms or [0.0]), 3),
        "new_tokens": sum(len(ids) for ids in generation.token_ids),
    }


def _result(answers: Answers, timings: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": _SCHEMA,
        "requests": [
            {
                "prompt": one.prompt,
                "full_prompt": one.full_prompt,
                "images": [*one.images],
                **({"video": one.video} if one.video else {}),
                **({"audio": one.audio} if one.audio else {}),
                "text": one.text,
                "token_ids": one.token_ids,
                "finish_reason": one.finish_reason,
            }
            for one in answers.answers
        ],
        "timings": timings,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; see ``--help``."""
    parser = stage_parser("run", __doc__)
    add_directory(parser, "--engine-dir", "holds the engines as llm/ and vision/")
    add_directory(parser, "--model-dir", "the model: tokenizer and image preprocessing")
    add_directory(parser, "--output-dir", f"where {RESULT_FILE} is written")
    # "extend", so that both spellings work: one flag with many values, and the flag repeated,
    # which is how a text that begins with a dash can be given (--input-text=-1).
    parser.add_argument(
        "--input-text",
        action="extend",
        nargs="+",
        default=[],
        metavar="TEXT",
        help="one or more questions; none for a model that only reads pictures",
    )
    parser.add_argument(
        "--image-path",
        action="extend",
        nargs="+",
        default=[],
        metavar="FILE",
        help="one or more images",
    )
    parser.add_argument(
        "--video-path",
        action="extend",
        nargs="+",
        default=[],
        metavar="PATH",
        help="one or more videos, or directories of frames; not beside images",
    )
    parser.add_argument(
        "--video-frames",
        type=positive,
        metavar="N",
        help=f"frames of each video, evenly spaced (default {DEFAULT_FRAMES}, or all of a shorter)",
    )
    parser.add_argument(
        "--audio-path",
        action="extend",
        nargs="+",
        default=[],
        metavar="FILE",
        help="one or more sounds, beside images or without",
    )
    parser.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="requests in the batch (default: as many as were given)",
    )
    parser.add_argument(
        "--max-new-tokens",
        type=positive,
        default=32,
        metavar="N",
        help="most tokens of an answer (default 32)",
    )
    # Bounds and defaults are those of Sampling.
    for flag, kind, metavar, text in (
        ("--top-k", int, "K", "sample among the K likeliest tokens; 1 is greedy, 0 is all"),
        ("--top-p", float, "P", "sample among the tokens that make up probability P; 0 is off"),
        ("--temperature", float, "T", "divides the logits of what is sampled; 0 is greedy"),
        ("--repetition-penalty", float, "R", "divides the logits of tokens that were there"),
        ("--seed", int, "S", "of the random choice"),
    ):
        parser.add_argument(flag, type=kind, metavar=metavar, help=text)
    parser.add_argument(
        "--run-profiling",
        action="store_true",
        help=f"time {_PROFILED_RUNS} more runs and report their medians",
    )
    flags = parser.parse_args(argv)
    return in_ranks("mmtrt.native.run", argv, flags.engine_dir, lambda: report(lambda: _run(flags)))


def _run(flags: argparse.Namespace) -> None:
    run(
        flags.engine_dir,
        flags.model_dir,
        flags.output_dir,
        texts=flags.input_text or [""],
        image_paths=flags.image_path,
        video_paths=flags.video_path,
        video_frames=flags.video_frames,
        audio_paths=flags.audio_path,
        batch_size=flags.batch_size,
        max_new_tokens=flags.max_new_tokens,
        sampling=Sampling(
            **{
                name: value
                for name in ("top_k", "top_p", "temperature", "repetition_penalty", "seed")
                if (value := getattr(flags, name)) is not None
            }
        ),
        run_profiling=flags.run_profiling,
    )


if __name__ == "__main__":
    leave_torch_out()
    raise SystemExit(main())
