"""Sizes of CLIP's vision towers, read from open_clip's own model configs."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from ovseg_ros.errors import ModelError

MEAN = (0.48145466, 0.4578275, 0.40821073)  # OpenAI's, of pixels in 0..1, RGB
STD = (0.26862954, 0.26130258, 0.27577711)

# settings of open_clip's own ViT that this trunk has not, and what their absence means
PLAIN_SETTINGS: dict[str, tuple[Any, ...]] = {
    "attentional_pool": (False,),
    "pool_type": ("tok",),
    "final_ln_after_pool": (False,),
    "no_ln_pre": (False,),
    "pos_embed_type": ("learnable",),
    "block_type": (None, "default"),
    "qk_norm": (False,),
    "scaled_cosine_attn": (False,),
    "scale_heads": (False,),
    "scale_attn_inner": (False,),
    "scale_attn": (False,),
    "scale_fc": (False,),
    "act_kwargs": (None,),
    "norm_kwargs": (None,),
}


@dataclass(frozen=True)
class ClipVisionConfig:
    """A CLIP ViT; the defaults are ViT-B/16's.

    Attributes:
        image_size: pixels a side that it was trained on; sets the native position grid.
        patch: pixels a side of a patch.
        width: channels of a token, C.
        layers: blocks.
        heads: attention heads, a divisor of `width`.
        mlp: hidden width of a block's MLP.
        embed_dim: width of the text space, D.
        quick_gelu: x * sigmoid(1.702 x) for GELU, as OpenAI's, DFN's and MetaCLIP's weights want.
        layer_scale: learned factors after attention and MLP.
        mean, std: of the pixels in 0..1, RGB, that the image is normalised with.
    """

    image_size: int = 224
    patch: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp: int = 3072
    embed_dim: int = 512
    quick_gelu: bool = False
    layer_scale: bool = False
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD

    @classmethod
    def from_open_clip(cls, name: str, tag: str | None = None) -> ClipVisionConfig:
        """The config of an open_clip model.

        Args:
            name: for instance "ViT-B-16" or "ViT-L-14-336-quickgelu".
            tag: of pretrained weights, for instance "openai"; their activation and pixel statistics take precedence.

        Raises:
            ModelError: no such name or tag, or no CLIP ViT with a CLS token.
        """
        config = read_open_clip(name)
        vision = vision_section(name, config)
        if isinstance(vision.get("layers", 12), list):
            raise ModelError(f"{name} is a ResNet, not a ViT: read it with ClipResNetConfig")
        for key, plain in PLAIN_SETTINGS.items():
            if vision.get(key, plain[0]) not in plain:
                raise ModelError(
                    f"{name} has {key} = {vision[key]!r}; the ViT trunk supports {plain[0]!r} only: "
                    "choose a plain CLIP ViT such as ViT-B-16"
                )
        width = vision.get("width", 768)
        extra = pretrained_settings(name, tag)
        return cls(
            image_size=square(name, vision.get("image_size", 224)),
            patch=vision.get("patch_size", 16),
            width=width,
            layers=vision.get("layers", 12),
            heads=width // vision.get("head_width", 64),
            mlp=int(width * vision.get("mlp_ratio", 4.0)),
            embed_dim=config["embed_dim"],
            quick_gelu=bool(extra.pop("quick_gelu", config.get("quick_gelu", False))),
            layer_scale=vision.get("ls_init_value") is not None,
            **extra,
        )


BASE_CLIP = ClipVisionConfig(quick_gelu=True)  # OpenAI's ViT-B/16
LARGE_CLIP = ClipVisionConfig(336, 14, 1024, 24, 16, 4096, 768, quick_gelu=True)  # and ViT-L/14 at 336 pixels
# that of the recipe clip-mini, which trains on two cores
MINI_CLIP = ClipVisionConfig(image_size=128, patch=16, width=192, layers=6, heads=3, mlp=768, embed_dim=256)


@dataclass(frozen=True)
class ClipResNetConfig:
    """A CLIP ResNet; the defaults are RN50's.

    Attributes:
        image_size: pixels a side that it was trained on; the attention pool's native grid is a 32nd of it.
        layers: blocks of the four stages.
        width: channels after the stem; the last stage has 32 times as many.
        heads: of the attention pool.
        embed_dim: width of the text space, D.
        mean, std: of the pixels in 0..1, RGB, that the image is normalised with.
    """

    image_size: int = 224
    layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    width: int = 64
    heads: int = 32
    embed_dim: int = 1024
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD

    @classmethod
    def from_open_clip(cls, name: str, tag: str | None = None) -> ClipResNetConfig:
        """The config of an open_clip ResNet, for instance "RN50"; arguments and errors as for the ViT."""
        config = read_open_clip(name)
        vision = vision_section(name, config)
        layers = vision.get("layers", 12)
        if not isinstance(layers, list):
            raise ModelError(f"{name} is a ViT, not a ResNet: read it with ClipVisionConfig")
        extra = pretrained_settings(name, tag)
        extra.pop("quick_gelu", None)  # the text tower's business
        return cls(
            image_size=square(name, vision.get("image_size", 224)),
            layers=(layers[0], layers[1], layers[2], layers[3]),
            width=vision["width"],
            heads=vision["width"] * 32 // vision.get("head_width", 64),
            embed_dim=config["embed_dim"],
            **extra,
        )


def read_open_clip(name: str) -> dict[str, Any]:
    """open_clip's config of a name; a ModelError with the nearest names where there is none."""
    import open_clip  # type: ignore[import-untyped]

    # names of hubs and folders would be downloaded or read; only built-in ones are looked up
    config = open_clip.get_model_config(name) if name in open_clip.list_models() else None
    if config is None:
        raise ModelError(f"open_clip knows no model {name!r}{_nearest(name, open_clip.list_models())}")
    return dict(config)


def vision_section(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """The vision part; a ModelError for towers of other families."""
    vision = dict(config["vision_cfg"])
    if "timm_model_name" in vision:
        raise ModelError(
            f"{name} has the timm tower {vision['timm_model_name']!r}, which is no ViT or ResNet of open_clip's own: "
            "choose a name such as ViT-B-16, ViT-L-14 or RN50"
        )
    if "multimodal_cfg" in config:
        raise ModelError(f"{name} is a CoCa model, which pools by attention: choose a CLIP such as ViT-B-16")
    return vision


def pretrained_settings(name: str, tag: str | None) -> dict[str, Any]:
    """What a tag of weights says of mean, std and quick_gelu; nothing without a tag."""
    if tag is None:
        return {}
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag not in tags:
        raise ModelError(f"open_clip has no weights {tag!r} for {name}{_nearest(tag, tags)}")
    found = open_clip.get_pretrained_cfg(name, tag)
    settings: dict[str, Any] = {key: tuple(found[key]) for key in ("mean", "std") if found.get(key)}
    settings["quick_gelu"] = bool(found.get("quick_gelu", False))
    return settings


def square(name: str, size: int | list[int]) -> int:
    """The side of a square image; a ModelError for other shapes."""
    if isinstance(size, int):
        return size
    if size[0] != size[1]:
        raise ModelError(f"{name} was trained on images of {size} pixels; only square ones are supported")
    return size[0]


def _nearest(word: str, choices: list[str]) -> str:
    """The end of a sentence that lists what comes closest."""
    close = difflib.get_close_matches(word, choices, n=3, cutoff=0.0)
    return f"; nearest: {', '.join(close)}" if close else "; it has none at all"
