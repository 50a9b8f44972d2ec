"""CLIP's tokenizer without torch: equal to open_clip's on every string."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import ftfy
from tokenizers import Tokenizer

START, END = "<start_of_text>", "<end_of_text>"
SUFFIX = "</w>"  # marks the last token of a word


class ClipTokenizer:
    """Byte-level BPE over cleaned text.

    `tokenizer.json` splits and merges; cleaning (mojibake, HTML entities, white space, case) happens here, because
    the `tokenizers` library has nothing like ftfy.

    Args:
        path: a `tokenizer.json` of `ovseg_ros.models.clip_tokenizer`.
        context_length: most tokens of a prompt, the two that mark its ends included.

    Raises:
        Exception: the file cannot be read (the library raises the bare class).
    """

    def __init__(self, path: Path, context_length: int) -> None:
        self._bpe = Tokenizer.from_file(str(path))
        self._bpe.no_padding()
        self._bpe.no_truncation()
        self.start, self.end = (self._bpe.token_to_id(marker + SUFFIX) for marker in (START, END))
        self.context_length = context_length

    def __call__(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids at each prompt's real length: start, words, end; a prompt too long loses words, not its end."""
        encodings = self._bpe.encode_batch([clean(prompt) for prompt in prompts], add_special_tokens=False)
        return [[self.start, *encoding.ids[: self.context_length - 2], self.end] for encoding in encodings]


def clean(text: str) -> str:
    """Text as CLIP was trained on it: broken encodings mended, entities resolved, one space between words, lower case.

    Entities are resolved twice, for captions from the web were often escaped twice ("&amp;amp;").
    """
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()
