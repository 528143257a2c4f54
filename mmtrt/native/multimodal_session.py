"""Answer texts about images: prompts and pixels in, text out, over an ``EngineSession``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from mmtrt.native.aot_engine_session import open_engines
from mmtrt.native.errors import NativeError, said
from mmtrt.native.families import family_of
from mmtrt.native.frontend import Frontend, Prepared, TakesSounds, TakesVideos
from mmtrt.native.generation import Generation, ms_since, not_finite
from mmtrt.native.hf_model import generation_settings
from mmtrt.native.image_file import open_image
from mmtrt.native.limits import START_TOKENS, check_request
from mmtrt.native.sampling import Sampling
from mmtrt.native.sound_file import open_sound
from mmtrt.native.video_file import open_video


@dataclass(frozen=True)
class Clip:
    """A video of a request."""

    path: str
    """A file, or a directory of pictures."""
    frames: int | None = None
    """How many are taken of it; 8, or all of a shorter one, where ``None``."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to one request."""

    prompt: str
    """As it was asked."""
    full_prompt: str
    """As the model read it, the image placeholder not yet repeated."""
    images: tuple[str, ...]
    """File names of its images."""
    video: str | None = None
    """Name of its video."""
    audio: str | None = None
    """Name of its sound."""
    text: str
    token_ids: list[int]
    finish_reason: str


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The answers to one batch."""

    answers: list[Answer]
    vision_ms: float
    """Wall time of the vision engine; 0 without images."""
    generation: Generation
    audio_ms: float = 0.0
    """Wall time of the audio engine; 0 without sounds."""


class MultimodalSession:
    """Engines, tokenizer and image preprocessing of one model."""

    def __init__(self, engine_dir: Path, model_dir: Path) -> None:
        """Open engines and model.

        Raises:
            NativeError: ART203, ART212 or RUN214, if one of them cannot be used here, or they do
                not fit.
        """
        self.engines = open_engines(engine_dir)
        llm = self.engines.llm
        self.own = generation_settings(model_dir)
        """The model's own generation settings."""
        with _transformers("open the model's processor"):
            self.frontend: Frontend = family_of(llm.family).frontend(
                model_dir, llm, self.engines.vision
            )

    def prompts(
        self, texts: Sequence[str], *, images: int | Sequence[int], media: str = ""
    ) -> list[str]:
        """Return the texts of a batch as the model was trained to read them.

        Args:
            texts: one for each request.
            images: how many each request has, or all of them alike.
            media: ``video`` or ``audio``, where each request has one.

        Raises:
            NativeError: RUN212, if a text holds other placeholders than those of what it shows;
                RUN224, if the model's chat template refuses it.
        """
        pairs = [*zip(texts, [images] * len(texts) if isinstance(images, int) else images)]
        with _transformers("put the text into its chat template"):
            if media == "video":
                return [self._videos.video_prompt(text) for text in texts]
            if media == "audio":
                return [self._sounds.sound_prompt(*pair) for pair in pairs]
            return [self.frontend.prompt(*pair) for pair in pairs]

    def prepare(
        self,
        prompts: Sequence[str],
        image_paths: Sequence[Sequence[str]],
        clips: Sequence[Clip] = (),
        sound_paths: Sequence[str] = (),
    ) -> Prepared:
        """Read images and sounds, or the videos, and return the batch as tensors.

        Raises:
            NativeError: RUN21x, if a file cannot be read or the model cannot take it; RUN224, if
                its processor refuses the request.
        """
        # The same file may stand for several requests: read it once.
        opened = {path: open_image(path) for paths in image_paths for path in paths}
        videos = {clip: open_video(clip.path, clip.frames) for clip in clips}
        rate = self._sounds.sampling_rate if sound_paths else 0
        sounds = {path: open_sound(path, rate) for path in sound_paths}
        pictures = [[opened[path] for path in paths] for paths in image_paths]
        with _transformers("take the request"):
            if clips:
                return self._videos.prepare_videos(prompts, [videos[clip] for clip in clips])
            if sound_paths:
                heard = [sounds[path] for path in sound_paths]
                return self._sounds.prepare_sounds(prompts, pictures, heard)
            return self.frontend.prepare(prompts, pictures)

    def answer(
        self,
        texts: Sequence[str],
        image_paths: Sequence[Sequence[str]] = (),
        *,
        clips: Sequence[Clip] = (),
        sound_paths: Sequence[str] = (),
        max_new_tokens: int,
        sampling: Sampling | None = None,
        keep_logits: bool = False,
    ) -> Answers:
        """Answer one batch; every limit is checked before any engine is loaded.

        Args:
            texts: one for each request.
            image_paths: the images of each request, or nothing at all.
            clips: the video of each request, or nothing at all; not beside images.
            sound_paths: the sound of each request, or nothing at all; not beside videos.
            max_new_tokens: most tokens of an answer.
            sampling: what is asked of the choice of tokens, over the model's own settings.
            keep_logits: keep the logits of every step in the result.

        Raises:
            NativeError: RUN2xx, if the request does not fit, its images cannot be read, or numbers
                overflow.
        """
        paths = [list(each) for each in image_paths] or [[] for _ in texts]
        if clips and any(paths):
            raise NativeError(
                "pictures and videos in one batch",
                code="RUN217",
                why="the frames of a video take the place of pictures",
                fix="leave --image-path or --video-path out",
            )
        if sound_paths:
            _check_sounds(clips)
        media = "video" if clips else "audio" if sound_paths else ""
        prompts = self.prompts(texts, images=[*map(len, paths)], media=media)
        prepared = self.prepare(prompts, paths, clips, sound_paths)
        engines = self.engines
        is_apart = engines.llm.component == "decoder"
        size = engines.size_of(
            prepared.prompts,
            new_tokens=max_new_tokens,
            images=prepared.vision_items,
            encoder_len=prepared.encoder_len,
            start_len=START_TOKENS if is_apart else None,
        )
        check_request(
            size, engines.limits, engines.vision_max_batch_size if prepared.pixels else None
        )
        features, vision_ms = None, 0.0
        if prepared.pixels:
            engines.load("vision")
            started = perf_counter()
            features = engines.encode_images(prepared.pixels, prepared.vision_items)
            vision_ms = ms_since(started)
            _check_features(features, "the features of the pictures")
        audio_ms = 0.0
        if prepared.sounds:
            engines.load("audio")
            started = perf_counter()
            sounds = [engines.encode_sound(sound) for sound in prepared.sounds]
            audio_ms = ms_since(started)
            for sound in sounds:
                _check_features(sound, "the features of a sound")
            features = {**(features or {}), "sounds": sounds}
        start = self.frontend.start(prepared, features, engines)
        singles = prepared.notes.get("singles")
        # What a decoder writes after is no prompt of the processor's.
        seen = None if is_apart or singles is None else [ids_of(single) for single in singles]
        generation = engines.generate(
            start.prompts,
            start.table,
            feed=start.feed,
            seen=seen,
            max_new_tokens=max_new_tokens,
            sampling=replace(sampling or Sampling(), own=self.own),
            keep_logits=keep_logits,
        )
        return Answers(
            answers=[
                Answer(
                    prompt=texts[row],
                    full_prompt=prompt,
                    images=tuple(Path(path).name for path in paths[row]),
                    video=Path(clips[row].path).name if clips else None,
                    audio=Path(sound_paths[row]).name if sound_paths else None,
                    text=self.frontend.decode(generation.token_ids[row]),
                    token_ids=generation.token_ids[row],
                    finish_reason=generation.finish_reasons[row],
                )
                for row, prompt in enumerate(prompts)
            ],
            vision_ms=vision_ms,
            generation=generation,
            audio_ms=audio_ms,
        )

    @property
    def _sounds(self) -> TakesSounds:
        """The frontend, where it takes sounds.

        Raises:
            NativeError: RUN217, if it takes none, or its engines hear none.
        """
        if not isinstance(self.frontend, TakesSounds):
            raise NativeError(
                f"{self.engines.llm.family} takes no sound",
                code="RUN217",
                why="its engines are built for pictures and text",
                fix="leave --audio-path out",
            )
        if self.engines.audio is None:
            raise NativeError(
                "these engines take no sound",
                code="RUN217",
                why="vision/audio/ is not there",
                fix="convert and build_vision with --media audio, or leave --audio-path out",
            )
        return self.frontend

    @property
    def _videos(self) -> TakesVideos:
        """The frontend, where it takes videos.

        Raises:
            NativeError: RUN217, if it takes none.
        """
        if not isinstance(self.frontend, TakesVideos):
            raise NativeError(
                f"{self.engines.llm.family} takes no video",
                code="RUN217",
                why="its engines are built for pictures and text",
                fix="leave --video-path out",
            )
        return self.frontend


def ids_of(single: Mapping[str, Any]) -> list[int]:
    """Return the ids of one request as the model's processor gives them."""
    return [int(id_) for id_ in single["input_ids"][0]]


def _check_sounds(clips: Sequence[Clip]) -> None:
    """Refuse what cannot stand beside a sound.

    Raises:
        NativeError: RUN217.
    """
    if clips:
        raise NativeError(
            "videos and sounds in one batch",
            code="RUN217",
            why="no family takes both",
            fix="leave --video-path or --audio-path out",
        )


def _check_features(features: Mapping[str, Any], what: str) -> None:
    """Refuse an encoder's outputs that are no numbers.

    Raises:
        NativeError: RUN222.
    """
    import numpy as np

    if not all(np.isfinite(np.asarray(each).sum(dtype=np.float64)) for each in features.values()):
        raise not_finite(what)


@contextmanager
def _transformers(doing: str) -> Iterator[None]:
    """Tell what processors, tokenizers and chat templates raise: they come with the model.

    Raises:
        NativeError: RUN224.
    """
    try:
        yield
    except (NativeError, OSError, MemoryError, ModuleNotFoundError):
        raise
    except Exception as error:  # templates and processors raise what they like
        raise NativeError(
            f"the model's own files cannot {doing}: {said(error)}",
            code="RUN224",
            why="its processor, its tokenizer or its chat template refuses",
            fix="change the request; or repair the files of the model beside its config.json",
        ) from error
