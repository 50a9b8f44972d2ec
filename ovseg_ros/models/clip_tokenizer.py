"""open_clip's BPE vocabulary as a `tokenizer.json` that runs without torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import regex  # type: ignore[import-untyped]
from open_clip.tokenizer import SimpleTokenizer  # type: ignore[import-untyped]
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

from ovseg_ros.text.tokenizer import END, START, SUFFIX


def write_tokenizer(path: Path) -> None:
    """Write the tokenizer of every CLIP that uses OpenAI's 49408 tokens."""
    source = SimpleTokenizer()
    vocabulary, merges = dict(source.encoder), list(source.bpe_ranks)
    # Text may spell out a marker, and open_clip then takes the marker's id. It is a word of its own to the splitter,
    # so merges that follow all others can put its parts together; only markers have "<" before a letter in one word.
    for marker in (START, END):
        first, *rest = _tokenizer(vocabulary, merges).encode(marker).tokens
        for part in rest[:-1]:
            merges.append((first, part))
            first += part
            vocabulary[first] = len(vocabulary)
        merges.append((first, rest[-1]))
        vocabulary[marker + SUFFIX] = vocabulary.pop(marker)
    _tokenizer(vocabulary, merges).save(str(path))


def word_splitter() -> Split:
    """What cuts clean text into words as open_clip does; what belongs to no word is dropped."""
    return Split(Regex(_word_pattern()), behavior="removed", invert=True)


def _tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    tokenizer = Tokenizer(BPE(vocabulary, merges, end_of_word_suffix=SUFFIX))
    tokenizer.pre_tokenizer = Sequence([word_splitter(), ByteLevel(add_prefix_space=False, use_regex=False)])
    return tokenizer


@cache
def _word_pattern() -> str:
    """What is a word: a marker, an English contraction, letters, one digit, or a run of anything else but space.

    Classes are spelled out as code points, because the `tokenizers` library's \\p{L} is of an older Unicode version,
    and because open_clip's pattern ignores case, with two effects on lower-case text: a long s counts as an s, and
    U+0345, whose upper case is a letter, belongs to no class and is dropped.
    """
    letters, digits, others = (_code_points(name) for name in (r"[\p{L}]", r"[\p{N}]", r"[^\s\p{L}\p{N}]"))
    markers = "|".join(marker.replace("s", "[s\u017f]") for marker in (START, END))
    return f"{markers}|'[s\u017f]|'t|'re|'ve|'m|'ll|'d|[{letters}]+|[{digits}]|[{others}]+"


def _code_points(name: str) -> str:
    """The code points of a character class, as ranges."""
    everything = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x110000))))
    runs = (match.group() for match in regex.finditer(f"{name}+", everything, regex.IGNORECASE))
    return "".join(f"\\x{{{ord(run[0]):X}}}-\\x{{{ord(run[-1]):X}}}" for run in runs)
