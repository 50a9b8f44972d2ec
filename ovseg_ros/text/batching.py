"""Which prompts a causal text tower encodes together: those that begin alike, at about their real length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGEST = 128  # most prompts a batch
FAMILY = 16  # so many prompts that begin alike are worth batches of their own


@dataclass(frozen=True)
class Batch:
    """Prompts with a common beginning.

    Attributes:
        rows: which of the sequences, n of them.
        prefix: (p,) int64, the tokens that all begin with, the start token at least.
        tokens: (n, L) int64, what follows, shorter ones padded with zeros: no token sees those behind it.
    """

    rows: list[int]
    prefix: NDArray[np.int64]
    tokens: NDArray[np.int64]


def batches(sequences: Sequence[Sequence[int]]) -> Iterator[Batch]:
    """Every sequence in one batch, few tokens in all.

    Args:
        sequences: token ids, two or more each, all with the same first.
    """
    for rows, shared in _families(sequences, range(len(sequences)), 1):
        rows = sorted(rows, key=lambda row: len(sequences[row]))  # few calls are worth some padding
        for first in range(0, len(rows), LARGEST):
            yield _batch(sequences, rows[first : first + LARGEST], shared)


def _families(sequences: Sequence[Sequence[int]], rows: Sequence[int], shared: int) -> Iterator[tuple[list[int], int]]:
    """Rows that share their first tokens, and how many; large branches go on, what is left over stays here."""
    branches: dict[int, list[int]] = {}
    for row in rows:
        branches.setdefault(sequences[row][shared], []).append(row)
    left: list[int] = []
    for branch in branches.values():
        # a sequence's last token is never shared: something must be left to compute
        if len(branch) >= FAMILY and all(len(sequences[row]) > shared + 1 for row in branch):
            yield from _families(sequences, branch, shared + 1)
        else:
            left += branch
    if left:
        yield left, shared


def _batch(sequences: Sequence[Sequence[int]], rows: list[int], shared: int) -> Batch:
    tokens = np.zeros((len(rows), max(len(sequences[row]) for row in rows) - shared), np.int64)
    for line, row in zip(tokens, rows, strict=True):
        line[: len(sequences[row]) - shared] = sequences[row][shared:]
    return Batch(rows, np.array(sequences[rows[0]][:shared], np.int64), tokens)
