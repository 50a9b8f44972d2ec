"""Where ESC-Net starts: CAT-Seg's published tensors reproduced through it, and SAM's decoder in every block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.catseg import CatSeg  # noqa: E402
from ovseg_ros.models.catseg_config import AggregatorConfig, CatSegConfig  # noqa: E402
from ovseg_ros.models.catseg_weights import load_catseg  # noqa: E402
from ovseg_ros.models.clip_config import ClipVisionConfig  # noqa: E402
from ovseg_ros.models.esc_config import EscConfig  # noqa: E402
from ovseg_ros.models.esc_net import EscNet  # noqa: E402
from ovseg_ros.models.esc_weights import start_from_catseg, start_from_sam  # noqa: E402
from ovseg_ros.models.sam.config import SamDecoderConfig  # noqa: E402
from ovseg_ros.models.sam.mask_decoder import MaskDecoder  # noqa: E402
from ovseg_ros.models.sam.prompt_encoder import PromptEncoder  # noqa: E402

SAM = SamDecoderConfig(width=32, mask_channels=8, heads=4, mlp=32)


def make(blocks: int) -> EscNet:
    """With the trunk and the fusion of `catseg_full_inference`."""
    torch.manual_seed(0)
    fusion = AggregatorConfig(32, 8, 4, blocks, pooling=2, padded=8, tap_guidance=(8, 8), decoder_widths=(32, 16))
    clip = ClipVisionConfig(64, 16, 64, 9, 1, 256, 40, quick_gelu=True)
    return EscNet(EscConfig(clip, fusion, SAM, budget=8)).eval().requires_grad_(False)


def sam_checkpoint(config: SamDecoderConfig = SAM) -> dict[str, Any]:
    """Random tensors under the published names."""
    torch.manual_seed(1)
    parts = {"prompt_encoder": PromptEncoder(config, (4, 4), (64, 64)), "mask_decoder": MaskDecoder(config)}
    state = {f"{part}.{key}": torch.randn_like(x) for part, m in parts.items() for key, x in m.state_dict().items()}
    return {**state, "image_encoder.pos_embed": torch.zeros(1)}


def test_one_fresh_block_on_catsegs_weights_is_catseg(
    golden: Callable[[str], dict[str, Any]], far: Callable[[Any, Any], float]
) -> None:
    data = golden("catseg_full_inference")
    model = make(1)
    start = start_from_catseg(model, data["w"])
    assert {key.split(".")[2] for key in start.fresh if key.startswith("blocks")} == {"inlet", "sam", "outlet"}
    assert {key.split(".")[0] for key in start.fresh} == {"blocks", "prompt_encoder"}
    pixels = torch.randn(1, 3, 384, 384, generator=torch.Generator().manual_seed(0))
    catseg = CatSeg(CatSegConfig(model.config.clip, model.config.fusion, 8)).eval().requires_grad_(False)
    load_catseg(catseg, data["w"])
    text = data["in/text_features_T1C"]
    assert far(model(pixels, text), catseg(pixels, text)) < 1e-5


def test_catsegs_layers_go_to_the_first_blocks(golden: Callable[[str], dict[str, Any]]) -> None:
    data, model = golden("catseg_full_inference"), make(3)
    before = model.state_dict()["blocks.1.fusion.attention.MLP.0.weight"].clone()
    start = start_from_catseg(model, {"model": data["w"]})
    ours, prefix = model.state_dict(), "sem_seg_head.predictor.transformer."
    theirs = data["w"][f"{prefix}layers.0.attention.MLP.0.weight"]
    assert torch.equal(ours["blocks.0.fusion.attention.MLP.0.weight"], theirs)
    assert torch.equal(ours["blocks.1.fusion.attention.MLP.0.weight"], before)
    for i in range(3):  # the image's guidance goes to all
        name = f"blocks.{i}.guidance_projection.0.weight"
        assert torch.equal(ours[name], data["w"][f"{prefix}guidance_projection.0.weight"])
        assert name in start.taken
    assert set(start.taken) | set(start.fresh) == set(ours)
    assert not set(start.taken) & set(start.fresh)


def test_catseg_of_other_sizes_is_refused(golden: Callable[[str], dict[str, Any]]) -> None:
    state = dict(golden("catseg_full_inference")["w"])
    prefix = "sem_seg_head.predictor.transformer."
    state[f"{prefix}layers.1.attention.norm1.bias"] = torch.zeros(32)
    with pytest.raises(ModelError, match=r"1 tensors do not match: the model has no blocks.1.fusion.attention.norm1"):
        start_from_catseg(make(1), state)
    del state[f"{prefix}layers.1.attention.norm1.bias"], state[f"{prefix}head.bias"]
    state["upsample1.bias"] = torch.zeros(3)
    with pytest.raises(ModelError, match=r"2 tensors .* lacks decoder.head.bias; trunk.upsample1.bias is"):
        start_from_catseg(make(1), state)
    with pytest.raises(ModelError, match=r"sam.pth holds no CAT-Seg"):
        start_from_catseg(make(1), sam_checkpoint(), "sam.pth")


def test_sams_decoder_goes_into_every_block() -> None:
    model, state = make(2), sam_checkpoint()
    start = start_from_sam(model, state)
    ours = model.state_dict()
    for i in range(2):
        for layer in range(2):
            for name in ("self_attn.q_proj.weight", "norm4.bias", "mlp.lin2.weight"):
                theirs = state[f"mask_decoder.transformer.layers.{layer}.{name}"]
                assert torch.equal(ours[f"blocks.{i}.sam.{layer}.{name}"], theirs)
    for key, value in state.items():
        if key.startswith("prompt_encoder."):
            assert torch.equal(ours[key], value)
        assert (key in start.aside) == (not key.startswith(("prompt_encoder.", "mask_decoder.transformer.layers.")))
    assert {key for key in start.taken if ".sam." in key} == {key for key in ours if ".sam." in key}


def test_the_published_sam_has_the_papers_block(hollow: Callable[[str], dict[str, Any]]) -> None:
    shapes = {key: tuple(x.shape) for key, x in hollow("sam_vit_b").items()}
    with torch.device("meta"):
        ours = {key: tuple(x.shape) for key, x in EscNet(EscConfig.base()).state_dict().items()}
    for i in range(4):
        block = {
            key.removeprefix(f"blocks.{i}.sam."): x for key, x in ours.items() if key.startswith(f"blocks.{i}.sam")
        }
        prefix = "mask_decoder.transformer.layers."
        assert block == {key.removeprefix(prefix): x for key, x in shapes.items() if key.startswith(prefix)}
    prompts = {key: x for key, x in ours.items() if key.startswith("prompt_encoder.")}
    assert prompts == {key: x for key, x in shapes.items() if key.startswith("prompt_encoder.")}


def test_a_wrong_sam_is_refused() -> None:
    with pytest.raises(ModelError, match=r"clip.pt holds no SAM decoder"):
        start_from_sam(make(1), {"visual.proj": torch.zeros(1)}, "clip.pt")
    with pytest.raises(ModelError, match="of other sizes than the ESC-Net"):
        start_from_sam(make(1), sam_checkpoint(SamDecoderConfig(width=64, mask_channels=8, heads=4, mlp=32)))
    state = sam_checkpoint()
    del state["mask_decoder.transformer.layers.1.norm4.bias"]
    with pytest.raises(ModelError, match=r"1 tensors do not match: it lacks blocks.0.sam.1.norm4.bias"):
        start_from_sam(make(1), state)
    state = sam_checkpoint()
    del state["prompt_encoder.no_mask_embed.weight"]
    with pytest.raises(ModelError, match="does not fit SAM's prompt_encoder"):
        start_from_sam(make(1), state)
