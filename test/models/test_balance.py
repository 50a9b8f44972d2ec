"""Balancing against the official EBSeg's numbers, and loops written from the formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from ovseg_ros.models.balance import Exponents, balance, ebseg_exponents, two_exponents  # noqa: E402


@pytest.mark.parametrize(("size", "parameters"), [("B", (0.09, 0.3, 0.7)), ("L", (0.12, 0.4, 0.6))])
def test_ebseg_is_three_terms(
    golden: Callable[..., dict[str, Any]], far: Callable[[Any, Any], float], size: str, parameters: tuple[float, ...]
) -> None:
    data = golden("ebseg_balance")
    data = {key.removeprefix(f"{size}/"): value for key, value in data.items() if key.startswith(f"{size}/")}
    masks = data["in_mask_logits"]
    grid = F.interpolate(masks, size=data["in_surgery_map"].shape[2:], mode="bilinear").sigmoid() > 0.5
    area = grid.flatten(2).sum(dim=2)[..., None]
    pooled = (grid.flatten(2).float() @ data["in_surgery_map"].flatten(2).transpose(1, 2)) / (area + 1e-8)
    logits = [100 * x @ data["in_text_with_bg"].t() for x in (data["in_A"], pooled, data["in_B"])]
    assert area[0, 0] == 0  # the file's query without a mask
    void = logits[0].softmax(dim=-1)[..., -1:]
    terms = [x[..., :-1].softmax(dim=-1) for x in logits]
    classes = balance(terms, ebseg_exponents(*parameters), data["in_seen"], void)
    expected = data["mid_log_class_probs"].softmax(dim=-1)
    assert far(classes[0], expected[:, :-1]) < 1e-4
    padded, image, out = (tuple(data[f"in_{key}_hw"].tolist()) for key in ("padded", "img", "out"))
    upright = F.interpolate(masks, size=padded, mode="bilinear")[:, :, : image[0], : image[1]]
    inside = F.interpolate(upright, size=out, mode="bilinear").sigmoid()  # EBSeg resizes twice, before the sigmoid
    assert far(torch.einsum("nqk,nqhw->nkhw", classes, inside)[0], data["out_sem"]) < 1e-4


def test_exponents_are_those_of_the_paper() -> None:
    assert ebseg_exponents(0.09, 0.3, 0.7) == (Exponents(0.21, 0.0), Exponents(0.09, 0.3), Exponents(0.7, 0.7))
    assert ebseg_exponents(0.12, 0.4, 0.6) == (Exponents(0.28, 0.0), Exponents(0.12, 0.4), Exponents(0.6, 0.6))
    assert two_exponents(0.25, 0.5) == (Exponents(0.75, 0.5), Exponents(0.25, 0.5))


def test_it_is_the_product_of_powers_class_by_class() -> None:
    generator = torch.Generator().manual_seed(0)
    terms = [torch.randn(2, 3, 5, generator=generator).softmax(dim=-1) for _ in range(4)]
    powers = [Exponents(0.5, 0.0), Exponents(0.2, 1.0), Exponents(0.0, 0.3), Exponents(2.0, 0.7)]
    seen = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0])
    void = torch.rand(2, 3, 1, generator=generator)
    found = balance(terms, powers, seen, void)
    for n in range(2):
        for q in range(3):
            raw = []
            for c in range(5):
                value = 1.0
                for term, power in zip(terms, powers, strict=True):
                    value *= math.pow(term[n, q, c].item(), power.seen if seen[c] else power.new)
                raw.append(value + 1e-8)
            for c in range(5):
                expected = raw[c] / sum(raw) * (1 - void[n, q, 0].item())
                assert found[n, q, c].item() == pytest.approx(expected, rel=1e-5)


def test_one_term_alone_stays_as_it_is() -> None:
    term, other = torch.rand(2, 1, 4, 6, generator=torch.Generator().manual_seed(1)).softmax(dim=-1)
    alone = balance([term, other], [Exponents(1, 1), Exponents(0, 0)], torch.tensor([1, 0, 1, 0, 1, 0]))
    assert torch.allclose(alone, term, atol=1e-6)


def test_terms_that_exclude_each_other_give_no_nan() -> None:
    one, other = torch.eye(3)[None, :1], torch.eye(3)[None, 1:2]
    found = balance([one, other], two_exponents(0.4, 0.8), torch.tensor([True, False, True]), torch.ones(1, 1, 1))
    assert torch.equal(found, torch.zeros(1, 1, 3))
    found = balance([one, other], two_exponents(0.4, 0.8), torch.tensor([True, False, True]))
    assert torch.allclose(found, torch.full((1, 1, 3), 1 / 3))


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="got 1 terms and 2 exponents"):
        balance([torch.ones(1, 1)], two_exponents(0.4, 0.8), torch.ones(1))
    with pytest.raises(ValueError, match=r"exponents are -0\.1 and 1; expected both at least 0"):
        Exponents(-0.1, 1)
