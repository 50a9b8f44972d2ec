"""DeOP's learned prompt inside the text tower, against the prompt that training uses."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.deop_prompt import PromptedText  # noqa: E402
from ovseg_ros.models.deop_text import PromptedTower  # noqa: E402

START, END = 49406, 49407


def test_a_word_is_encoded_as_in_training(clip: Any) -> None:
    prompts = PromptedText.from_clip(clip.state_dict()).requires_grad_(False)
    prompts.context.normal_(std=0.5)
    tower = PromptedTower(clip, prompts.context).requires_grad_(False)
    assert tower.context_length == 77 - 16 - 1
    words = [[2368], [1629, 1570], [1629, 268, 1010]]
    expected = prompts(words)
    assert float((expected[0] - expected[1]).abs().max()) > 0.01
    tokens = torch.zeros(3, 4, dtype=torch.int64)
    for row, word in zip(tokens, words, strict=True):
        row[: len(word) + 1] = torch.tensor([*word, END])
    assert torch.allclose(tower(torch.tensor([START]), tokens), expected, atol=1e-5)
    shared = tower(torch.tensor([START, 1629]), tokens[1:, 1:])  # words that begin alike
    assert torch.allclose(shared, expected[1:], atol=1e-5)
    longest = [320] * (tower.context_length - 2)  # as many tokens as the prompt has room for
    found = tower(torch.tensor([START]), torch.tensor([[*longest, END]]))
    assert torch.allclose(found, prompts([longest]), atol=1e-5)


def test_a_prompt_of_another_width_is_refused(clip: Any) -> None:
    with pytest.raises(ModelError, match=r"the learned prompt is \(16, 32\); expected \(n, 64\)"):
        PromptedTower(clip, torch.zeros(16, 32))
