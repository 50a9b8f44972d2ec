"""Batches of token sequences: complete, true to the sequences, and small."""

from __future__ import annotations

import random

import pytest

from ovseg_ros.prompts import P14
from ovseg_ros.text.batching import LARGEST, batches

END = 9


def check(sequences: list[list[int]]) -> int:
    """Every sequence comes back once, padded behind its end; returns the tokens to compute."""
    seen, tokens = [], 0
    for batch in batches(sequences):
        assert len(batch.prefix) >= 1
        assert 1 <= len(batch.rows) <= LARGEST
        assert batch.tokens.shape[1] == max(len(sequences[row]) for row in batch.rows) - len(batch.prefix) >= 1
        for row, own in zip(batch.rows, batch.tokens.tolist(), strict=True):
            whole, length = [*batch.prefix.tolist(), *own], len(sequences[row])
            assert whole[:length] == sequences[row]
            assert not any(whole[length:])
        seen += batch.rows
        tokens += len(batch.prefix) + batch.tokens.size
    assert sorted(seen) == list(range(len(sequences)))
    return tokens


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 300, 1000])
@pytest.mark.parametrize("alphabet", [1, 3, 8])
def test_every_sequence_comes_back_whole(count: int, alphabet: int) -> None:
    draw = random.Random(count * alphabet)
    check([[8, *draw.choices(range(1, alphabet + 1), k=draw.randrange(6)), END] for _ in range(count)])


def test_prompts_of_the_same_templates_share_their_beginnings() -> None:
    ids: dict[str, int] = {}
    sequences = []
    for template in P14:
        for number in range(100):
            words = template.replace(".", " .").format(f"word{number}").split()
            sequences.append([0, *(ids.setdefault(word, len(ids) + 1) for word in words), 10**6])
    assert check(sequences) < 0.5 * sum(map(len, sequences))


def test_prompts_equal_but_for_their_end_are_told_apart() -> None:
    check([[8, 1, END]] * 20 + [[8, 1, 2, END]] * 20 + [[8, END]] * 20)
