"""The ``hf`` calculators against the processors of transformers, run on blank pictures.

No weights, no network: processors are built from the numbers that the models publish and a
tokenizer of a few words. All are the PIL ones. Phi-4's image processor exists for torchvision
only, which is not needed here: its own source is run with a stand-in for the two functions that it
takes from there. Phi-3, CogVLM, VILA, InternLM-XComposer2 and the NeMo models are not part of
transformers.
"""

from __future__ import annotations

import ast
import math
import random
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, ProcessorMixin

from mmtrt.sizing.features import audio_features, image_cost
from mmtrt.sizing.features.any_resolution import _unpadded
from tests.sizing.shapes import LLAVA_NEXT_PINPOINTS, ONEVISION_PINPOINTS, SHAPES

PLAIN = {"do_rescale": False, "do_normalize": False}
"""Pixels do not matter here: leave out what only changes their values."""


@pytest.fixture(autouse=True)
def no_torchvision(monkeypatch):
    """Let processors do without a video processor: there is none without torchvision."""
    monkeypatch.setattr(ProcessorMixin, "check_argument_for_proper_class", lambda *_: None)


def sizes(count: int = 200, longest: int = 1500, thinnest: float = 60) -> list[tuple[int, int]]:
    """Return (height, width) of pictures of all aspects, some very long, some tiny."""
    draw = random.Random(20)
    found = [(336, 336), (480, 640), (1080, 1920), (24, 1400), (1400, 24), (1, 1), (2, 1)]
    while len(found) < count:
        aspect = thinnest ** draw.uniform(-1, 1)
        area = math.exp(draw.uniform(math.log(400), math.log(900 * 900)))
        height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < height <= longest and 0 < width <= longest:
            found.append((height, width))
    return found


def requests(count: int = 200, **how: float) -> list[list[tuple[int, int]]]:
    """Return the same pictures in requests of one to four."""
    every = sizes(count, **how)
    cuts, n = [0], 1
    while cuts[-1] < len(every):
        cuts.append(cuts[-1] + n)
        n = n % 4 + 1
    return [every[start:end] for start, end in pairwise(cuts)]


def blank(size: tuple[int, int]) -> Image.Image:
    return Image.new("RGB", (size[1], size[0]))


def tokenizer(*words: str, **named: str) -> PreTrainedTokenizerFast:
    """Return a tokenizer that knows these words; ``image_token="<i>"`` gives one a role."""
    vocabulary = ["<unk>", "<pad>", "<s>", "</s>", *words, *named.values()]
    ids = {word: n for n, word in enumerate(dict.fromkeys(vocabulary))}
    model = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(
        tokenizer_object=model,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens=named,
    )
    made.add_special_tokens({"additional_special_tokens": list(words)})
    return made


def counted(processor: Any, images: list[tuple[int, int]], token: str, text: str = "") -> int:
    """Return how often a token stands in the prompt that a processor makes of a request."""
    prompt = text or " ".join([token] * len(images))
    made = processor(images=[[blank(size) for size in images]], text=[prompt])
    ids = np.asarray(made["input_ids"]).ravel()
    return int((ids == processor.tokenizer.convert_tokens_to_ids(token)).sum())


def features(family: str, images: list[tuple[int, int]]) -> int:
    """Return what the calculator says of a request."""
    return sum(
        image_cost(family, SHAPES[family], size, images=len(images), flavour="hf").features
        for size in images
    )


def test_llava():
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.llava.processing_llava import LlavaProcessor

    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size=336, **PLAIN),
        tokenizer(image_token="<image>"),
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    for images in requests(thinnest=12):
        assert counted(processor, images, "<image>") == features("llava", images)


def test_llava_next():
    from transformers.models.llava_next.image_processing_pil_llava_next import (
        LlavaNextImageProcessorPil,
    )
    from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor

    processor = LlavaNextProcessor(
        LlavaNextImageProcessorPil(
            size={"shortest_edge": 336},
            crop_size=336,
            image_grid_pinpoints=[list(point) for point in LLAVA_NEXT_PINPOINTS],
            **PLAIN,
        ),
        tokenizer(image_token="<image>"),
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    for images in requests():
        assert counted(processor, images, "<image>") == features("llava_next", images)
    for size in sizes(60):
        tiles = processor.image_processor([blank(size)])["pixel_values"][0]
        cost = image_cost("llava_next", SHAPES["llava_next"], size, flavour="hf")
        assert len(tiles) == cost.tiles


def test_llava_onevision():
    from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
        LlavaOnevisionImageProcessorPil,
    )
    from transformers.models.llava_onevision.processing_llava_onevision import (
        LlavaOnevisionProcessor,
    )

    shape = SHAPES["llava_onevision"]
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessorPil(
            image_grid_pinpoints=[list(point) for point in ONEVISION_PINPOINTS], **PLAIN
        ),
        tokenizer(image_token="<image>", video_token="<video>"),
        num_image_tokens=729,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
    )
    for images in requests(200, longest=1200):
        assert counted(processor, images, "<image>") == features("llava_onevision", images)
    every = sizes(2000, longest=6000, thinnest=200)
    says = processor._get_num_multimodal_tokens(image_sizes=every).num_image_tokens
    assert says == [image_cost("llava_onevision", shape, s, flavour="hf").features for s in every]
    for frames in (1, 8, 32):
        video = {"pixel_values_videos": [np.zeros((frames, 3, 384, 384), dtype=np.uint8)]}
        said = processor.replace_video_token(video, 0).count("<video>")
        assert said == image_cost("llava_onevision", shape, None, frames=frames).features


def test_qwen2_vl():
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from transformers.models.qwen2_vl.processing_qwen2_vl import Qwen2VLProcessor

    shape = SHAPES["qwen2_vl"]
    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessorPil(min_pixels=3136, max_pixels=12845056, **PLAIN),
        tokenizer(image_token="<|image_pad|>", video_token="<|video_pad|>"),
    )
    for images in requests():
        assert counted(processor, images, "<|image_pad|>") == features("qwen2_vl", images)
    for height, width in sizes(2000, longest=20000, thinnest=190):
        if max(height, width) > 200 * min(height, width):
            continue  # refused
        patches = processor.image_processor.get_number_of_image_patches(height, width)
        cost = image_cost("qwen2_vl", shape, (height, width), flavour="hf")
        assert (cost.tiles, cost.features) == (patches, patches // 4)
        assert cost.features <= image_cost("qwen2_vl", shape, None, flavour="hf").features
        for frames in (1, 2, 7, 8):
            # A frame is a picture; two make a step (tests/native/test_video.py compares both).
            video = image_cost("qwen2_vl", shape, (height, width), frames=frames, flavour="hf")
            assert video.features == (frames + 1) // 2 * patches // 4


def test_fuyu():
    from transformers.models.fuyu.image_processing_pil_fuyu import FuyuImageProcessorPil
    from transformers.models.fuyu.processing_fuyu import FuyuProcessor

    shape = SHAPES["fuyu"]
    processor = FuyuProcessor(
        FuyuImageProcessorPil(**PLAIN), tokenizer("|SPEAKER|", "|NEWLINE|", "<0x04>")
    )
    patchify = processor.image_processor.patchify_image
    # The PIL image processor takes arrays here, but its own processor hands it tensors.
    processor.image_processor.patchify_image = lambda image, patch_size: torch.from_numpy(
        patchify(image.numpy(), patch_size)
    )
    for size in sizes(220, longest=4000):
        if max(size) > 60 * min(size):
            continue  # shrinks to nothing
        _, (said,) = processor._process_images([blank(size)], return_tensors="pt")
        cost = image_cost("fuyu", shape, size, flavour="hf")
        assert said.count("|SPEAKER|") == cost.features
        assert said.count("|NEWLINE|") == cost.marks


def test_internvl2():
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
    from transformers.models.internvl.processing_internvl import InternVLProcessor

    processor = InternVLProcessor(
        GotOcr2ImageProcessorPil(
            size={"height": 448, "width": 448}, crop_to_patches=True, max_patches=12, **PLAIN
        ),
        tokenizer(
            start_image_token="<img>",
            end_image_token="</img>",
            context_image_token="<ctx>",
            video_token="<video>",
        ),
        image_seq_length=256,
    )
    # Two grids are as close to 1024 x 882, which is just half of the larger one.
    for images in [*requests(), [(1024, 882)], [(588, 2048)]]:
        assert counted(processor, images, "<ctx>") == features("internvl2", images), images


def test_gemma3():
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
    from transformers.models.gemma3.processing_gemma3 import Gemma3Processor

    processor = Gemma3Processor(
        Gemma3ImageProcessorPil(size={"height": 896, "width": 896}, **PLAIN),
        tokenizer(image_token="<img>", boi_token="<boi>", eoi_token="<eoi>"),
        image_seq_length=256,
    )
    for images in requests():
        text = " ".join(["<boi>"] * len(images))
        assert counted(processor, images, "<img>", text) == features("gemma3", images)


def test_blip2():
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
    from transformers.models.blip_2.processing_blip_2 import Blip2Processor

    processor = Blip2Processor(
        BlipImageProcessorPil(size={"height": 224, "width": 224}, **PLAIN),
        tokenizer(),
        num_query_tokens=32,
    )
    for size in sizes():
        assert counted(processor, [size], "<image>", "what") == features("blip2", [size])


def test_kosmos2():
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.kosmos2.processing_kosmos2 import Kosmos2Processor

    processor = Kosmos2Processor(
        CLIPImageProcessorPil(size={"shortest_edge": 224}, crop_size=224, **PLAIN), tokenizer()
    )
    for size in sizes(thinnest=12):
        made = processor(images=[blank(size)], text=["<grounding> a"])
        mask = np.asarray(made["image_embeds_position_mask"])
        assert mask.sum() == features("kosmos2", [size])


@pytest.mark.parametrize("side", [448, 560])
def test_mllama(side):
    from dataclasses import replace

    from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil

    processor = MllamaImageProcessorPil(size={"height": side, "width": side}, **PLAIN)
    cost = image_cost("mllama", replace(SHAPES["mllama"], image_size=(side, side)), None)
    for images in requests():
        pixels = processor([[blank(size) for size in images]])["pixel_values"]
        _, count, tiles, _, height, width = np.asarray(pixels).shape
        rows = tiles * ((height // 14) * (width // 14) + 1)
        assert count == len(images)
        assert rows == cost.encoder_tokens


def test_nougat():
    from transformers.models.nougat.image_processing_pil_nougat import NougatImageProcessorPil

    processor = NougatImageProcessorPil(do_crop_margin=False, **PLAIN)
    cost = image_cost("nougat", SHAPES["nougat"], None)
    for size in sizes(220, longest=700):
        if max(size) > 20 * min(size):
            continue  # shrinks to nothing
        height, width = np.asarray(processor([blank(size)])["pixel_values"][0]).shape[-2:]
        assert (height // 32) * (width // 32) == cost.encoder_tokens


def test_deplot():
    from transformers.models.pix2struct.image_processing_pil_pix2struct import (
        Pix2StructImageProcessorPil,
    )

    processor = Pix2StructImageProcessorPil(max_patches=2048)
    cost = image_cost("deplot", SHAPES["deplot"], None)
    for size in sizes():
        patches = np.asarray(processor([blank(size)])["flattened_patches"])
        assert patches.shape[-2] == cost.encoder_tokens


class Phi4Pixels:
    """What Phi-4's image processor takes from torchvision and its base: shapes alone count."""

    def resize(self, image, size, **_):
        height, width = size if isinstance(size, list) else (size.height, size.width)
        return torch.zeros(1, dtype=torch.uint8).expand(3, height, width)

    def pad(self, image, padding, **_):
        _, height, width = image.shape
        left, top, right, bottom = padding
        return torch.zeros(1, dtype=torch.uint8).expand(
            3, height + top + bottom, width + left + right
        )

    def rescale_and_normalize(self, image, *_):
        return image


def phi4_processor():
    """Return an instance of the class as its source says, but for its base and decorators."""
    place = find_spec("transformers.models.phi4_multimodal")
    source = Path(place.submodule_search_locations[0]) / "image_processing_phi4_multimodal.py"
    body = next(
        node
        for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == "Phi4MultimodalImageProcessor"
    )
    methods = ("find_closest_aspect_ratio", "dynamic_preprocess", "_preprocess")
    body.body = [n for n in body.body if getattr(n, "name", None) in methods]
    body.bases, body.decorator_list = [ast.Name("Phi4Pixels", ast.Load())], []
    for node in ast.walk(body):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            for argument in node.args.args:
                argument.annotation = None
    pixels = Phi4Pixels()
    names = {
        "math": math,
        "torch": torch,
        "tvF": pixels,
        "Phi4Pixels": Phi4Pixels,
        "BatchFeature": lambda data, tensor_type: data,
    }
    module = ast.fix_missing_locations(ast.Module([body], []))
    exec(compile(module, str(source), "exec"), names)
    made = names["Phi4MultimodalImageProcessor"]()
    made.pad_to_max_num_crops = made.pad_mask_to_max_num_crops = lambda tensor, most: tensor
    return made


def test_phi4_multimodal():
    processor, shape = phi4_processor(), SHAPES["phi4_multimodal"]
    square = SimpleNamespace(height=448, width=448)
    for size in sizes(220, longest=9000):
        image = torch.zeros(1, dtype=torch.uint8).expand(3, *size)
        try:
            made = processor._preprocess(
                [image], True, square, None, False, 1, False, None, None, 14, 36, None
            )
        except ValueError:
            continue  # refused as too long and thin
        cost = image_cost("phi4_multimodal", shape, size, flavour="hf")
        assert made["num_img_tokens"] == [cost.features], size
        assert made["image_pixel_values"].shape[1] == cost.tiles


def test_phi4_sound_is_at_most_one_row_too_many():
    module = pytest.importorskip(
        "transformers.models.phi4_multimodal.feature_extraction_phi4_multimodal"
    )
    extractor = module.Phi4MultimodalFeatureExtractor(feature_size=80)
    for seconds in (0.5, 1, 2.37, 4, 11.9):
        wave = np.zeros(round(seconds * 16000), dtype=np.float32)
        sizes = extractor(wave, sampling_rate=16000, return_tensors="pt")["audio_embed_sizes"]
        rows = audio_features("phi4_multimodal", seconds)
        assert 0 <= rows - int(sizes[0]) <= 1
    for frames in (1, 8, 9, 17, 801):  # windows of 400 samples, 160 apart
        samples = 400 + 160 * (frames - 1)
        made = extractor(np.zeros(samples, np.float32), sampling_rate=16000, return_tensors="pt")
        rows = audio_features("phi4_multimodal", samples / 16000, "hf")
        assert rows == int(made["audio_embed_sizes"][0]), frames


def unpadded_by_the_runner(rows, columns, height, width):
    """Return the grid as TensorRT-LLM's runner cuts it; sides of pictures are torch scalars."""
    if width / height > columns / rows:
        return rows - (rows - int(height * (columns / width))) // 2 * 2, columns
    return rows, columns - (columns - int(width * (rows / height))) // 2 * 2


def test_the_runner_cuts_llava_onevision_grids_in_float32():
    draw = random.Random(5)
    for _ in range(4000):
        size = draw.randint(1, 4000), draw.randint(1, 4000)
        grid = 27 * draw.randint(1, 6), 27 * draw.randint(1, 6)
        said = unpadded_by_the_runner(*grid, *torch.tensor(size))
        assert said == _unpadded(size, *grid, exact=True, single=True)


def test_the_runner_takes_llava_next_heights_for_widths():
    """TensorRT-LLM reads (height, width) of the processor as (width, height)."""

    def features(size):
        wide, high = torch.tensor(size)
        best, kept, wasted = None, 0, math.inf
        for point in LLAVA_NEXT_PINPOINTS:
            scale = min(point[0] / wide, point[1] / high)
            fits = min(int(wide * scale) * int(high * scale), int(wide * high))
            wastes = point[0] * point[1] - fits
            if fits > kept or (fits == kept and wastes < wasted):
                best, kept, wasted = point, fits, wastes
        rows, columns = unpadded_by_the_runner(best[1] // 14, best[0] // 14, high, wide)
        return 576 + rows * (columns + 1)

    for size in sizes(1500, longest=4000):
        assert features(size) == image_cost("llava_next", SHAPES["llava_next"], size).features
