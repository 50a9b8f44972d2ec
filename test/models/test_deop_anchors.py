"""Anchors against the published decoder's tensors and loops, and the facts that make them anchors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from ovseg_ros.models.deop_anchors import AnchorDecoder, pooled  # noqa: E402
from ovseg_ros.models.deop_severance import policy_of, severance_weights  # noqa: E402
from ovseg_ros.models.deop_weights import split  # noqa: E402
from ovseg_ros.models.mask2former.layers import sine_positions  # noqa: E402

Far = Callable[[Any, Any], float]


@pytest.mark.parametrize(("name", "layers"), [("deop_cal_decoder", 1), ("deop_cal_decoder_0layer", 0)])
def test_the_published_decoder(golden: Callable[..., dict[str, Any]], far: Far, name: str, layers: int) -> None:
    data = golden(name)
    model = AnchorDecoder(64, 12, layers, 8, 96).eval().requires_grad_(False)
    ours, _, aside = split({f"decoder.{key}": value for key, value in data["w"].items()})
    assert set(aside) == {f"decoder.{key}" for key in data["w"] if key.startswith("norm.")}
    weights = {key.removeprefix("anchors."): value for key, value in ours.items()}
    model.load_state_dict({**weights, "queries.weight": data["in/query_embedding"]})
    features, inside = data["in/clip_map"], data["in/proposal_prob_grid"]
    assert far(sine_positions((3, 5), 64, features), data["mid/pos_key"][:, 0]) < 1e-6
    found = model(features, inside)
    assert far(found, data["out/anchor_embedding"]) < 1e-5
    empty = inside.flatten(2).sum(dim=2) == 0
    if layers:
        assert empty.any()  # the file has a proposal of nothing
    assert (found[empty] == 0).all()


def test_an_anchor_is_a_weighted_mean_of_features_inside_its_proposal(far: Far) -> None:
    """With one head, in a loop; and so it lies in the cone of the features that its proposal holds."""
    torch.manual_seed(0)
    model = AnchorDecoder(8, 3, 0, 1).eval().requires_grad_(False)
    features, inside = F.normalize(torch.randn(1, 8, 2, 3), dim=1), torch.rand(1, 3, 2, 3)
    inside[0, 1] = 0
    inside[0, 1, 1, 2] = 0.3  # a proposal of a single patch
    found = model(features, inside)
    assert far(found[0, 1], features[0, :, 1, 2]) < 1e-6
    memory = features[0].flatten(1).t()
    keys = memory + sine_positions((2, 3), 8, memory)
    last, positions = model.last, model.queries.weight
    query = last.norm1(last.self_attn(positions[None], positions[None], torch.zeros(1, 3, 8))[0])
    for q in range(3):
        logits = torch.stack([last.query(query[q] + positions[q]) @ last.key(key) / 8**0.5 for key in keys])
        weights = logits.exp() / logits.exp().sum()
        total = sum(weights[i] * inside[0, q].flatten()[i] * memory[i] for i in range(6))
        assert far(found[0, q], total / total.norm()) < 1e-5


def test_pooling_is_the_mean_inside(far: Far) -> None:
    torch.manual_seed(0)
    features, inside = torch.randn(2, 5, 3, 4), torch.rand(2, 6, 3, 4)
    inside[0, 2] = 0
    found = pooled(features, inside)
    for n in range(2):
        for q in range(6):
            total = sum(inside[n, q, y, x] * features[n, :, y, x] for y in range(3) for x in range(4))
            expected = total / total.norm() if total.norm() > 0 else torch.zeros(5)
            assert torch.allclose(found[n, q], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "key"), [("weighted", "mid/weighted_s"), ("mask-guided", "mid/mps_attn_mean_over_heads")]
)
def test_severance_weights_are_the_published_ones(
    golden: Callable[..., dict[str, Any]], far: Far, kind: str, key: str
) -> None:
    data = golden("deop_clip_trunk")
    assert far(severance_weights(kind, data["in/mask_logits"], (3, 5)), data[key]) < 1e-5


def test_severance_without_weights_and_unknown() -> None:
    assert severance_weights("none", torch.zeros(1, 2, 4, 4), (1, 1)) is None
    assert policy_of("generalised").uses == "v"
    with pytest.raises(ValueError, match="severance is 'all'"):
        policy_of("all")


def test_widths_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="anchors of width 36 need a multiple of 4 and of their 8 heads"):
        AnchorDecoder(36)
