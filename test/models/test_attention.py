"""Every attention policy against loops written from its formula, and the exact facts that tie them together."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.models.attention import (  # noqa: E402
    KK,
    KK_WINDOW,
    QK,
    QQ,
    QQ_KK,
    VV,
    Attention,
    Context,
    Diagonal,
    Given,
    Identity,
    Neighbourhood,
    Policy,
    narrow_attention,
    query_bias,
)

GRID, HEADS, WIDTH, LENGTH = (2, 3), 2, 8, 7


@pytest.fixture(scope="module")
def layer() -> Any:
    torch.manual_seed(0)
    layer = Attention(WIDTH, HEADS)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.5)
    return layer.requires_grad_(False)


@pytest.fixture(scope="module")
def tokens() -> Any:
    return torch.randn(2, LENGTH, WIDTH, generator=torch.Generator().manual_seed(1))


def window(i: int, j: int, std: float = 5.0) -> float:
    """exp(-distance^2 / 2 std^2) between tokens, 0 with CLS."""
    if i == 0 or j == 0:
        return 0.0
    (y0, x0), (y1, x1) = divmod(i - 1, GRID[1]), divmod(j - 1, GRID[1])
    return math.exp(-((y0 - y1) ** 2 + (x0 - x1) ** 2) / (2 * std**2))


def softmax(row: list[float]) -> list[float]:
    top = max(row)
    powers = [math.exp(value - top) for value in row]
    return [power / sum(powers) for power in powers]


def by_loops(layer: Any, x: Any, policy: Policy, context: Context) -> Any:
    """The layer's output, token by token in double precision."""
    d = WIDTH // HEADS
    x = x.double()
    rows = {name: part.double() for name, part in zip("qkv", layer.in_proj_weight.split(WIDTH), strict=True)}
    offsets = {name: part.double() for name, part in zip("qkv", layer.in_proj_bias.split(WIDTH), strict=True)}
    mixed = torch.zeros_like(x)
    for n in range(len(x)):
        p = {name: x[n] @ rows[name].T + offsets[name] for name in "qkv"}
        heads = [{name: p[name][:, h * d : (h + 1) * d] for name in "qkv"} for h in range(HEADS)]
        mean = sum(
            float(e["q"][i].norm() * e["k"][j].norm()) for e in heads for i in range(LENGTH) for j in range(LENGTH)
        )
        mean /= HEADS * LENGTH**2 * math.sqrt(d)
        for h, e in enumerate(heads):
            for i in range(LENGTH):
                share = [0.0] * LENGTH
                if isinstance(policy, Identity | Diagonal):
                    share[i] = float(context.weights[n, i]) if isinstance(policy, Diagonal) else 1.0
                elif isinstance(policy, Given):
                    share = context.weights[n, i].tolist()
                elif isinstance(policy, Neighbourhood):
                    share = softmax([mean * window(i, j) for j in range(LENGTH)])
                else:
                    for a, b in map(tuple, policy.pairs):
                        logits = [float(e[a][i] @ e[b][j]) / math.sqrt(d) for j in range(LENGTH)]
                        if policy.window:
                            logits = [value + window(i, j, policy.window) for j, value in enumerate(logits)]
                        if context.bias is not None:
                            logits = [value + float(context.bias[n, h, i, j]) for j, value in enumerate(logits)]
                        share = [s + t for s, t in zip(share, softmax(logits), strict=True)]
                for j in range(LENGTH):
                    mixed[n, i, h * d : (h + 1) * d] += share[j] * e["v"][j]
    return (mixed @ layer.out_proj.weight.double().T + layer.out_proj.bias.double()).float()


@pytest.mark.parametrize(
    ("policy", "biased"),
    [
        *((policy, False) for policy in (QK, QQ, KK, VV, QQ_KK, KK_WINDOW, Neighbourhood(), Identity())),
        *((policy, True) for policy in (QK, QQ_KK, KK_WINDOW)),
    ],
    ids=str,
)
def test_a_policy_is_its_formula(layer: Any, tokens: Any, policy: Policy, biased: bool) -> None:
    bias = torch.randn(2, HEADS, LENGTH, LENGTH, generator=torch.Generator().manual_seed(2)) if biased else None
    context = Context(GRID, bias=bias)
    torch.testing.assert_close(layer(tokens, policy, context), by_loops(layer, tokens, policy, context))


@pytest.mark.parametrize(("policy", "shape"), [(Diagonal(), (2, LENGTH)), (Given(), (2, LENGTH, LENGTH))], ids=str)
def test_weights_from_outside_are_applied_as_they_are(
    layer: Any, tokens: Any, policy: Policy, shape: tuple[int, ...]
) -> None:
    context = Context(GRID, weights=torch.randn(shape, generator=torch.Generator().manual_seed(3)))
    torch.testing.assert_close(layer(tokens, policy, context), by_loops(layer, tokens, policy, context))
    with pytest.raises(ValueError, match=f"{type(policy).__name__} got weights None: pass weights of shape"):
        layer(tokens, policy, Context(GRID))


def test_a_matrix_may_differ_from_head_to_head(layer: Any, tokens: Any) -> None:
    weights = torch.randn(2, HEADS, LENGTH, LENGTH, generator=torch.Generator().manual_seed(3))
    found = layer.project(tokens)["v"]
    expected = torch.stack([weights[:, h] @ found[:, h] for h in range(HEADS)], dim=1)
    torch.testing.assert_close(Given().mix({"v": found}, Context(GRID, weights=weights)), expected)


def test_identity_is_a_softmax_that_sees_only_itself(layer: Any, tokens: Any) -> None:
    alone = torch.full((LENGTH, LENGTH), float("-inf")).fill_diagonal_(0.0)
    masked = layer(tokens, QK, Context(GRID, bias=alone))
    torch.testing.assert_close(layer(tokens, Identity(), Context(GRID)), masked)
    ones = Context(GRID, weights=torch.ones(2, LENGTH))
    torch.testing.assert_close(layer(tokens, Diagonal(), ones), masked)


def test_queries_in_front_are_not_seen_and_see_patches_and_themselves(layer: Any, tokens: Any) -> None:
    queries, patches = 3, GRID[0] * GRID[1]
    generator = torch.Generator().manual_seed(4)
    predicted = torch.randn(2, HEADS, queries, patches, generator=generator)
    x = torch.cat([torch.randn(2, queries, WIDTH, generator=generator), tokens], dim=1)
    found = layer(x, QK, Context(GRID, bias=query_bias(predicted)))
    torch.testing.assert_close(found[:, queries:], layer(tokens, QK, Context(GRID)))
    for i in range(queries):  # each by itself with the patches, without CLS
        own = torch.cat([x[:, i : i + 1], tokens[:, 1:]], dim=1)
        bias = torch.zeros(2, HEADS, 1 + patches, 1 + patches)
        bias[:, :, 0, 1:] = predicted[:, :, i]
        torch.testing.assert_close(found[:, i], layer(own, QK, Context(GRID, bias=bias))[:, 0])


def test_only_what_a_policy_uses_is_projected(layer: Any, tokens: Any) -> None:
    whole = layer.project(tokens)
    for uses in ("v", "qv", "kv"):
        part = layer.project(tokens, uses)
        assert list(part) == list(uses)
        for name in uses:
            torch.testing.assert_close(part[name], whole[name])
    assert [p.uses for p in (Identity(), QQ, KK, VV, QK, QQ_KK)] == ["v", "qv", "kv", "v", "qkv", "qkv"]


def test_narrow_heads_stay_in_float32_under_autocast() -> None:
    generator = torch.Generator().manual_seed(5)
    q, k, v = (torch.randn(3, 2, length, 4, generator=generator) for length in (5, 6, 6))
    bias = torch.randn(3, 1, 5, 6, generator=generator)
    expected = ((q @ k.transpose(2, 3) / 2 + bias).softmax(dim=-1)) @ v
    torch.testing.assert_close(narrow_attention(q, k, v, bias), expected)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(narrow_attention(q, k, v, bias), expected)
        halves = narrow_attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), bias.bfloat16())
    assert halves.dtype == torch.float32
    torch.testing.assert_close(halves, expected, atol=0.05, rtol=0.05)
