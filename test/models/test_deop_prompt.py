"""Learned prompts against CLIP's own text tower: with the vectors of real words they are that prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")
F = torch.nn.functional

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.deop_prompt import PromptedText  # noqa: E402


@pytest.mark.parametrize("word", ["cat", "traffic light", "playing field"])
def test_with_a_photo_of_a_it_is_clips_embedding(clip: Any, word: str) -> None:
    prompts = PromptedText.from_clip(clip.state_dict(), context=4)
    tokenizer = open_clip.get_tokenizer("ViT-B-16")
    before = tokenizer("a photo of a")[0, 1:5]
    with torch.no_grad():
        prompts.context.copy_(clip.token_embedding(before))
    ids = tokenizer(word)[0]
    own = ids[1 : ids.argmax()].tolist()
    expected = clip.encode_text(tokenizer(f"a photo of a {word}."), normalize=True)
    found = prompts([own, [320]])
    assert torch.allclose(found[:1], expected, atol=1e-5)
    embedded = prompts([clip.token_embedding(torch.tensor(own)), [320]])  # embeddings in place of ids
    assert torch.equal(found, embedded)


def test_only_the_context_learns(clip: Any) -> None:
    prompts = PromptedText.from_clip(clip.state_dict())
    assert [name for name, x in prompts.named_parameters() if x.requires_grad] == ["context"]
    prompts([[320, 2368], [539]])[0, 0].backward()
    assert prompts.context.grad.abs().max() > 0
    assert prompts.context.shape == (16, 64)


def test_the_published_prompt_is_sixteen_vectors(golden: Callable[..., dict[str, Any]]) -> None:
    from ovseg_ros.models.deop_weights import split

    _, words, _ = split(golden("deop_e2e")["w"])
    prompts = PromptedText(64, 2, 64, tokens=0)
    prompts.load_state_dict(words)
    with pytest.raises(ValueError, match="this text tower has no table of tokens"):
        prompts([[1, 2]])


def test_words_that_do_not_fit_and_towers_that_are_none(clip: Any) -> None:
    prompts = PromptedText.from_clip(clip.state_dict())
    with pytest.raises(ValueError, match="a word of 59 tokens does not fit the prompt; expected at most 58"):
        prompts([[320] * 59])
    assert prompts([[320] * 58]).shape == (1, 24)
    with pytest.raises(ModelError, match=r"no CLIP text tower: .*token_embedding\.weight"):
        PromptedText.from_clip({"visual.conv1.weight": torch.zeros(1)})
