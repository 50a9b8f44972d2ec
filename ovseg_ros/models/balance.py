"""Several opinions on the classes of a proposal as one: a geometric mean whose weights know which classes were seen.

An embedding trained on the classes of a data set is right about those and biased towards them on all others; a frozen
CLIP is the other way round. Weighting them differently for seen and new classes keeps the strength of each:
EBSeg (arXiv 2406.09829, section 3.3) with three terms, FC-CLIP (arXiv 2308.02487, section 3.3) and SimBaseline
(arXiv 2112.14757, section 3.4) with two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Of a product: FC-CLIP's and EBSeg's 1e-8, or the float32 above it: up to 1e-8 the ONNX exporter takes additions for
# those of 0 and drops them, and products that are 0 for all classes became NaN.
FLOOR = 1.000001e-8


@dataclass(frozen=True)
class Exponents:
    """How much one opinion counts, for classes that were in its training and for new ones."""

    seen: float
    new: float

    def __post_init__(self) -> None:
        if self.seen < 0 or self.new < 0:
            raise ValueError(f"exponents are {self.seen} and {self.new}; expected both at least 0: 0 leaves one out")


def ebseg_exponents(alpha: float, beta: float, gamma: float) -> tuple[Exponents, Exponents, Exponents]:
    """EBSeg's for the embeddings A, D and B: B/16 has (0.09, 0.3, 0.7), L/14 (0.12, 0.4, 0.6).

    1 - beta - gamma is 0 in both as published, so A does not count for new classes; the rounding of that difference is
    taken off, as an exponent of 1e-17 would still cost a power.
    """
    rests = (round(1 - x - gamma, 12) for x in (alpha, beta))
    return Exponents(*rests), Exponents(alpha, beta), Exponents(gamma, gamma)


def two_exponents(seen: float, new: float) -> tuple[Exponents, Exponents]:
    """FC-CLIP's for the trained and the frozen term: p^(1-a) q^a with a = `seen` for seen classes, `new` for others."""
    return Exponents(1 - seen, 1 - new), Exponents(seen, new)


def balance(
    probabilities: Sequence[Tensor], exponents: Sequence[Exponents], seen: Tensor, void: Tensor | None = None
) -> Tensor:
    """(1 - void) times the normalised product over terms of probability^exponent.

    Args:
        probabilities: of the K classes by each term, each (..., K) float in 0..1.
        exponents: of each term.
        seen: (K,) float or bool, 1 for classes that were in training, 0 for new ones.
        void: (..., 1) float, probability of "no object"; None where no term has it.

    Returns:
        (..., K) float; sums to 1 - void. Uniform where the terms exclude each other on every class.

    Raises:
        ValueError: not as many exponents as terms, or no term.
    """
    if not probabilities or len(probabilities) != len(exponents):
        raise ValueError(f"got {len(probabilities)} terms and {len(exponents)} exponents; expected one for each term")
    product = torch.where(
        seen > 0.5,
        _product(probabilities, [term.seen for term in exponents]),
        _product(probabilities, [term.new for term in exponents]),
    )
    product = product + FLOOR
    shares: Tensor = product / product.sum(dim=-1, keepdim=True)
    return shares if void is None else shares * (1 - void)


def _product(probabilities: Sequence[Tensor], powers: Sequence[float]) -> Tensor:
    """Powers are numbers, so that the graph has none for an exponent of 0, where compilers differ on 0^0."""
    product = torch.ones_like(probabilities[0])
    for probability, power in zip(probabilities, powers, strict=True):
        if power:
            product = product * (probability if power == 1 else probability.pow(power))
    return product
