"""Facts of a model from its own ``config.json`` and ``preprocessor_config.json``.

A recipe states the facts of the checkpoints that it names. Who brings another one, by
``model.path`` or as an asset, brings its configuration too, and that decides. Keys that nobody asks
for are left alone, and what the files leave out stays as the recipe has it: Hugging Face does not
write down what equals the default of the model's own class.

The files are read anew each time: they are no part of what a composition is cached by.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmtrt.config import typed
from mmtrt.config.root import ASSET_SCHEME, asset, display
from mmtrt.config.schema import ModelFacts
from mmtrt.errors import RecipeError
from mmtrt.sizing.features import VisionShape
from mmtrt.sizing.features.cross_attention import SWIN_MERGES, swin_grid

Keys = tuple[str, ...]
"""Where a value stands in a JSON file, from the top."""

LANGUAGE_PLACES: tuple[Keys, ...] = (
    ("text_config",),
    ("llm_config",),  # InternVL
    ("llm_cfg",),  # VILA
    ("decoder",),  # vision-encoder-decoder: Nougat
    (),
)
"""Where a configuration may describe its language model, the innermost first."""

LANGUAGE: dict[str, tuple[str, ...]] = {
    "hidden_size": ("hidden_size", "d_model", "embed_dim"),
    # BART and T5 count encoder and decoder apart; the plain name is then the encoder's.
    "num_hidden_layers": (
        *("decoder_layers", "num_decoder_layers", "num_hidden_layers", "num_layers", "layers"),
    ),
    "num_attention_heads": (
        *("decoder_attention_heads", "num_attention_heads", "num_heads", "attention_heads"),
    ),
    "num_key_value_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim", "d_kv"),
    "intermediate_size": ("decoder_ffn_dim", "intermediate_size", "ffn_dim", "d_ff"),
    "vocab_size": ("vocab_size",),
    "max_position_embeddings": ("max_position_embeddings",),
}
"""Fact -> its names, the one that decides first.

Source: transformers 5.23, the configuration classes of the recipes' ``hf_model_type`` and of their
language models (Llama, OPT, T5, mBART, Kosmos-2, Pix2Struct, ...).
"""

_SQUARE = {"image_size": ("vision_config.image_size",), "patch_size": ("vision_config.patch_size",)}

VISION: dict[str, dict[str, tuple[str, ...]]] = {
    "blip2": {**_SQUARE, "image_tokens": ("num_query_tokens",)},
    "deplot": {
        "patch_size": ("preprocessor:patch_size",),
        "max_patches": ("preprocessor:max_patches",),
    },
    "fuyu": {
        "image_size": ("preprocessor:size",),  # config.json states 300, which nothing reads
        "patch_size": ("patch_size", "preprocessor:patch_size"),
    },
    "gemma3": {**_SQUARE, "image_tokens": ("mm_tokens_per_image",)},
    "internlm_xcomposer2": {"image_size": ("img_size",)},
    "internvl2": {
        "image_size": ("force_image_size", "vision_config.image_size"),
        "patch_size": ("vision_config.patch_size",),
        "max_tiles": ("max_dynamic_patch", "preprocessor:max_patches"),
    },
    "kosmos2": {**_SQUARE, "image_tokens": ("latent_query_num",)},
    "llava_next": {
        **_SQUARE,
        "image_grid_pinpoints": ("image_grid_pinpoints", "preprocessor:image_grid_pinpoints"),
    },
    "llava_onevision": {
        **_SQUARE,
        "image_grid_pinpoints": ("image_grid_pinpoints", "preprocessor:image_grid_pinpoints"),
    },
    "mllama": {
        **_SQUARE,
        "max_tiles": ("vision_config.max_num_tiles", "preprocessor:max_image_tiles"),
    },
    "nougat": {
        "image_size": ("encoder.image_size", "preprocessor:size"),
        "patch_size": ("encoder.patch_size",),
    },
    "phi3_vision": {"max_tiles": ("preprocessor:num_crops",)},
    "phi4_multimodal": {
        "image_size": ("embd_layer.image_embd_layer.crop_size", "vision_config.image_size"),
        "patch_size": ("vision_config.patch_size",),
        "max_tiles": ("preprocessor:dynamic_hd",),
    },
    "qwen2_vl": {  # image_size is what TensorRT-LLM's run.py makes of every picture
        "patch_size": ("vision_config.patch_size",),
        "spatial_merge_size": ("vision_config.spatial_merge_size", "preprocessor:merge_size"),
        "min_pixels": ("preprocessor:min_pixels", "preprocessor:size.shortest_edge"),
        "max_pixels": ("preprocessor:max_pixels", "preprocessor:size.longest_edge"),
    },
    "vila": {
        "image_size": ("vision_tower_cfg.image_size",),
        "patch_size": ("vision_tower_cfg.patch_size",),
    },
}
"""Family -> fact -> where it may stand, the place that decides first.

A family that is not listed has a square vision encoder. Source: transformers 5.23 configuration
and image-processor classes; for models with code of their own, that code.
"""

DTYPES = ("float32", "float16", "bfloat16")
PAIRS = ("image_size",)
"""Facts of two numbers, which a file may give as one or as height and width."""
SHAPE = ("hidden_size", "intermediate_size", "num_hidden_layers")
"""Facts without which a number of parameters is another model's."""


@dataclass(frozen=True)
class LocalFacts:
    """What a model's own files say, on top of the recipe."""

    facts: ModelFacts
    files: tuple[str, ...] = ()
    """The files that said something, as messages show them."""
    differ: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """Fact -> (the recipe's, the model's), where the two are not alike."""

    @property
    def because(self) -> str:
        """Return whose pictures these are, for the end of a sentence; empty for the recipe's."""
        is_own = any(f.name in self.differ for f in dataclasses.fields(VisionShape))
        return f"facts from {' and '.join(self.files)}" if is_own else ""


@dataclass(frozen=True, slots=True)
class _File:
    """One JSON file, or an object inside of it."""

    path: Path
    data: dict[str, Any]
    inside: Keys = ()

    def get(self, keys: Keys) -> Any:
        """Return a value, ``None`` where there is none."""
        value: Any = self.data
        for key in keys:
            if not isinstance(value, dict):
                return None
            value = value.get(key)
        return value


@dataclass(frozen=True, slots=True)
class _Found:
    """A value as a file has it."""

    value: Any
    file: _File
    keys: Keys


def refine(
    facts: ModelFacts,
    family: str,
    model_types: Collection[str],
    path: str | None,
    config_dirs: tuple[Path, ...] = (),
) -> LocalFacts:
    """Return the facts of a local model: its own files', and the recipe's where they say nothing.

    Args:
        facts: what the recipe states of the variant.
        family: which tells where the files say what.
        model_types: of the recipe, and of the layout of transformers where that is another; any
            where empty. A model of another type is left to the rule that tells so.
        path: its directory, ``asset://name``, or ``None``.
        config_dirs: the user's own directories, for assets.

    Raises:
        RecipeError: CFG105 for a file that is no JSON object, CFG114 for a value that is no fact.
    """
    directory = _directory(path, config_dirs)
    config = None if directory is None else _read(directory / "config.json")
    if directory is None or config is None:
        return LocalFacts(facts)
    stated_type = config.data.get("model_type")
    if model_types and stated_type is not None and stated_type not in model_types:
        return LocalFacts(facts)
    found = dict(_found(family, config, _preprocessor(directory)))
    stated = {f.name: getattr(facts, f.name) for f in dataclasses.fields(facts)}
    values = {name: _plain(name, each.value) for name, each in found.items()}
    refined, problems = typed.read(ModelFacts, {**stated, **values})
    if refined is None:
        raise _refused(problems, found)
    refined = _consistent(family, facts, refined, values, config)
    differ = {
        name: (before, after)
        for name, before in stated.items()
        if (after := getattr(refined, name)) != before
    }
    files = dict.fromkeys(display(each.file.path) for each in found.values())
    return LocalFacts(refined, tuple(files), differ)


def _directory(path: str | None, config_dirs: tuple[Path, ...]) -> Path | None:
    """Return a model's directory; a path that leads nowhere is refused when stages are made."""
    if path is None:
        return None
    try:
        place = asset(path, config_dirs) if path.startswith(ASSET_SCHEME) else Path(path)
        return place.expanduser()
    except (RecipeError, RuntimeError):
        return None


def _preprocessor(directory: Path) -> _File | None:
    """Return how pictures are prepared; what stands beside other processors is read first.

    Source: transformers 5.23, ``ImageProcessingMixin.get_image_processor_dict``.
    """
    whole = _read(directory / "processor_config.json")
    inner = None if whole is None else whole.data.get("image_processor")
    if whole is None or not isinstance(inner, dict):
        return _read(directory / "preprocessor_config.json")
    return _File(whole.path, inner, ("image_processor",))


def _read(path: Path) -> _File | None:
    """Return a JSON object, ``None`` if there is no such file.

    Raises:
        RecipeError: CFG105.
    """
    at, why = display(path), None
    try:
        if not path.is_file():
            return None
        data = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        at, why = f"{at}:{error.lineno}:{error.colno}", error.msg
    except (ValueError, RecursionError) as error:  # no Unicode; nested too deeply
        why = str(error)
    except OSError as error:
        why = str(error.strerror or error)
    else:
        if isinstance(data, dict):
            return _File(path, data)
        why = f"it holds {typed.described(data)}, not an object"
    raise RecipeError(
        f"{path.name} of the model cannot be read",
        code="CFG105",
        at=at,
        why=why,
        fix="fetch the model again, or name another directory: model.path=<directory>",
    )


def _found(family: str, config: _File, preprocessor: _File | None) -> Iterator[tuple[str, _Found]]:
    """Yield every fact that the files state."""
    places = [keys for keys in LANGUAGE_PLACES if isinstance(config.get(keys), dict)]
    for fact, names in LANGUAGE.items():
        yield from _first(fact, [(config, (*keys, name)) for keys in places for name in names])
    for fact, spots in VISION.get(family, _SQUARE).items():
        candidates = []
        for spot in spots:
            source, _, keys = spot.rpartition(":")
            file = preprocessor if source else config
            if file is not None:
                candidates.append((file, tuple(keys.split("."))))
        yield from _first(fact, candidates)
    names = ("dtype", "torch_dtype", "model_dtype")
    for fact, each in _first(
        "dtype", [(config, (*keys, name)) for keys in reversed(places) for name in names]
    ):
        if not isinstance(each.value, str) or _plain("dtype", each.value) in DTYPES:
            yield fact, each  # weights in another format, such as float8, have no name here


def _first(fact: str, candidates: list[tuple[_File, Keys]]) -> Iterator[tuple[str, _Found]]:
    for file, keys in candidates:
        if (value := file.get(keys)) is not None:
            yield fact, _Found(value, file, keys)
            return


def _plain(fact: str, value: Any) -> Any:
    """Return a value in the shape of the schema, where that is another spelling of the same."""
    if fact == "dtype":
        return value.removeprefix("torch.") if isinstance(value, str) else value
    if isinstance(value, dict) and value.keys() >= {"height", "width"}:
        value = [value["height"], value["width"]]
    if fact in PAIRS:
        return [value, value] if isinstance(value, int) else value
    if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
        return value[0]
    return value


def _consistent(
    family: str,
    recipe: ModelFacts,
    model: ModelFacts,
    values: Mapping[str, Any],
    config: _File,
) -> ModelFacts:
    """Return the facts with what follows from others, and without what no longer holds."""
    changed: dict[str, Any] = {}
    heads = model.num_attention_heads
    is_grouped = recipe.num_key_value_heads not in (None, recipe.num_attention_heads)
    if "num_attention_heads" in values and "num_key_value_heads" not in values and not is_grouped:
        changed["num_key_value_heads"] = heads  # such models have no key for it
    if recipe.head_dim is None and heads and model.head_dim == (model.hidden_size or 0) / heads:
        changed["head_dim"] = None  # it goes without saying
    before = [getattr(recipe, name) for name in SHAPE]
    after = [getattr(model, name) for name in SHAPE]
    if any(old not in (None, new) for old, new in zip(before, after)):
        changed["parameters"] = None
    changed |= _class_row(family, model, config)
    if follows := _FOLLOWS.get(family):
        changed |= follows(model, config)
    return dataclasses.replace(model, **changed)


def _class_row(family: str, model: ModelFacts, config: _File) -> dict[str, Any]:
    """Return the rows of a LLaVA picture where the row of the class is kept, or there is none.

    Source: transformers 5.23, ``LlavaModel.get_image_features``.
    """
    kept = config.get(("vision_feature_select_strategy",)) == "full"
    if family != "llava" or not kept or (edge := _edge(model)) is None:
        return {}
    is_siglip = config.get(("vision_config", "model_type")) == "siglip_vision_model"
    return {"image_tokens": edge**2 + int(not is_siglip)}


def _edge(model: ModelFacts) -> int | None:
    """Return the patches along one side of the vision encoder."""
    if model.image_size is None or model.patch_size is None:
        return None
    return model.image_size[0] // model.patch_size


def _internvl2(model: ModelFacts, config: _File) -> dict[str, Any]:
    """Source: ``modeling_internvl_chat.py``, ``num_image_token``."""
    edge, ratio = _edge(model), config.get(("downsample_ratio",))
    ratio = 0.5 if ratio is None else ratio  # the default of both layouts' configuration classes
    if edge is None or isinstance(ratio, bool) or not isinstance(ratio, (int, float)):
        return {}
    return {"image_tokens": int(edge**2 * ratio**2) or None}


def _llava_onevision(model: ModelFacts, config: _File) -> dict[str, Any]:
    """Source: transformers ``LlavaOnevisionProcessor``; ``vision_aspect_ratio`` anyres_max_9."""
    edge, aspect = _edge(model), config.get(("vision_aspect_ratio",))
    most = re.fullmatch(r"anyres_max_([1-9]\d*)", aspect) if isinstance(aspect, str) else None
    tiles = {"max_tiles": int(most[1])} if most else {}
    return tiles if edge is None else {**tiles, "frame_tokens": math.ceil(edge / 2) ** 2}


def _nougat(model: ModelFacts, config: _File) -> dict[str, Any]:
    """Source: transformers ``DonutSwinModel``, whose stages halve the grid between them."""
    if model.image_size is None or model.patch_size is None:
        return {}
    depths = config.get(("encoder", "depths"))
    merges = len(depths) - 1 if isinstance(depths, list) and depths else SWIN_MERGES
    size = (model.image_size[0], model.image_size[1])
    return {"image_tokens": math.prod(swin_grid(size, model.patch_size, merges))}


def _vila(model: ModelFacts, config: _File) -> dict[str, Any]:
    """Source: VILA ``base_projector.py``, ``DownSampleBlock``: squares of two by two patches."""
    projector, edge = config.get(("mm_projector_cfg",)), _edge(model)
    kind = projector.get("mm_projector_type") if isinstance(projector, dict) else projector
    if kind != "mlp_downsample" or edge is None:
        return {}
    return {"image_tokens": math.ceil(edge / 2) ** 2}


_FOLLOWS: dict[str, Callable[[ModelFacts, _File], dict[str, Any]]] = {
    "internvl2": _internvl2,
    "llava_onevision": _llava_onevision,
    "nougat": _nougat,
    "vila": _vila,
}
"""Family -> facts that no key states but others give."""


def _refused(problems: list[typed.Problem], found: Mapping[str, _Found]) -> RecipeError:
    errors = []
    for problem in problems:
        each = found[str(problem.path[0])]
        keys = (*each.file.inside, *each.keys)
        errors.append(
            RecipeError(
                f"{'.'.join(keys)} of the model {problem.message.partition(';')[0]}",
                code="CFG114",
                at=_at(each.file.path, (*keys, *problem.path[1:])),
                why=f"it is the model's {problem.path[0]}, which sizes and rules read",
                fix="correct the file, or name another model: model.path=<directory>",
            )
        )
    errors[0].also.extend(errors[1:])
    return errors[0]


def _at(path: Path, keys: tuple[str | int, ...]) -> str:
    """Return ``file:line:column`` of a value: JSON is YAML, but for a few tabs."""
    from mmtrt.config.yaml_file import find, read

    try:
        document = read(path, is_strict=False)
    except RecipeError:
        return display(path)
    while keys:
        try:
            return document.at(find(document.root, keys)[1])
        except KeyError:  # a list of two that the file gives as one number
            keys = keys[:-1]
    return display(path)
