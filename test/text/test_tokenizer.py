"""The tokenizer without torch, against open_clip's."""

from __future__ import annotations

import pytest

pytest.importorskip("open_clip")
pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer

from ovseg_ros.models.clip_tokenizer import word_splitter, write_tokenizer
from ovseg_ros.text.tokenizer import ClipTokenizer

NASTY = [
    "", " ", "\t\n", "a", "A photo of a CAR.", "traffic  light\u00a0\u3000red", "snake_case __init__ _",
    "it's IT'S we'll I'd", "'s 'S 'ſ 'ſs ''s", "12345 1½ ² Ⅷ ٣ 10,000.5", "🙂👩\u200d👩\u200d👧\u200d👦🇩🇪❤️ 🏳️\u200d🌈",
    "e\u0301 é \u0301 a\u0345b \u0345 â\u0345 ᾳ", "schÃ¶n â€œquotedâ€\x9d", "ﬁ ﬅ Ｆｕｌｌ ｗｉｄｔｈ",
    "&amp;amp;lt;b&amp;gt; &eacute; &nbsp; &#x41; &#xD800; &bogus; &#0;", "人工知能 車 자동차 рыба",
    "سيارة مكتبة \u200fשלום\u200e", "कार ไทย தமிழ்", "\x00\x07\x1b[31mred\x1b[0m\x7f\x85", "\ud800 lone \udfff",
    "<start_of_text>", "<end_of_text> a", "a<end_of_text>b", "!<start_of_text>", "<END_OF_TEXT>", "<ſtart_of_text>",
    "<start", "<end_of_text>>", "&lt;end_of_text&gt;", "<start_of_text><end_of_text>", "İstanbul ǅ ẞ Σίσυφος",
    "\ufeffbom \u00ad soft", "𝒜𝓁𝓅𝒽𝒶 𐐀", "…—“”", "x" * 10_000, "word " * 2_000, "!?" * 5_000, "🙂" * 100,
    "a " * 74, "a " * 75, "a " * 76,
]  # fmt: skip
ALPHABET = "aſsS'<>_tort&;#x1 \t\n\u200b\u0345é中🙂\u0301½"
PIECES = [
    "<start_of_text>",
    "<end_of_text>",
    "'s",
    "'ll",
    "<",
    ">",
    "ſ",
    "a",
    "start",
    "_",
    "of",
    " ",
    "!",
    "text",
    "9",
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClipTokenizer, SimpleTokenizer]:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path)
    return ClipTokenizer(path, 77), SimpleTokenizer()


def same(pair: tuple[ClipTokenizer, SimpleTokenizer], text: str) -> None:
    (mine,), theirs = pair[0]([text]), pair[1]([text])[0].tolist()
    assert mine + [0] * (77 - len(mine)) == theirs


@pytest.mark.parametrize("text", NASTY, ids=lambda text: ascii(text)[:24])
def test_a_nasty_text(pair: tuple[ClipTokenizer, SimpleTokenizer], text: str) -> None:
    same(pair, text)


@settings(max_examples=150)
@given(text=st.one_of(st.text(), st.text(ALPHABET, max_size=40), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_any_text(pair: tuple[ClipTokenizer, SimpleTokenizer], text: str) -> None:
    same(pair, text)


def test_real_length_is_that_of_the_words(pair: tuple[ClipTokenizer, SimpleTokenizer]) -> None:
    assert [len(ids) for ids in pair[0](["", "car", "a red car", "car " * 100])] == [2, 3, 5, 77]


def test_every_character_belongs_to_the_class_that_it_has_in_open_clip(
    pair: tuple[ClipTokenizer, SimpleTokenizer],
) -> None:
    everything = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x110000)))).lower()
    assert [word for word, _ in word_splitter().pre_tokenize_str(everything)] == pair[1].pat.findall(everything)
