"""`ovseg words WORD...`: what WordNet makes of words, and the vocabulary that comes of it."""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path
from typing import Any

from ovseg_ros.cli.words import SYNTAX, read_words
from ovseg_ros.lexicon import Choice, Lexicon

WIDTH = 110  # columns of a printed sense


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("words", nargs="+", metavar="WORD", help="a word, or several as one: 'traffic light'")
    parser.add_argument("--context", metavar="WORDS", help=f"the other classes, which decide between senses; {SYNTAX}")
    parser.add_argument(
        "--wordnet", type=Path, metavar="FOLDER", help="WordNet's files, where they are in no usual place"
    )
    parser.add_argument("--json", action="store_true", help="print a list, one object a word")


def run(options: argparse.Namespace) -> int:
    """Print each word's senses and synonyms; 1 where a word has no sense that could be chosen."""
    lexicon = Lexicon.open(options.wordnet)
    context = [word for words in read_words(options.context).classes for word in words] if options.context else []
    choices = []
    for word in options.words:
        others = [other for other in options.words if other != word]
        choices.append(lexicon.choose(word, context=[*context, *others]))
    if options.json:
        print(json.dumps([_describe(choice) for choice in choices], indent=2))
    else:
        print("\n\n".join(map(_explain, choices)))
    return 0 if all(choice.sense for choice in choices) else 1


def _entry(choice: Choice) -> str:
    """The class as a vocabulary has it."""
    return ", ".join((choice.word, *choice.kept))


def _describe(choice: Choice) -> dict[str, Any]:
    senses = [
        {
            "sense": sense.name,
            "probability": round(chance, 4),
            "visible": sense.visible,
            "lexname": sense.lexname,
            "frequency": sense.frequency,
            "lemmas": list(sense.lemmas),
            "gloss": sense.gloss,
        }
        for sense, chance in choice.senses
    ]
    return {
        "word": choice.word,
        "found_as": choice.entry,
        "sense": choice.sense.name if choice.sense else None,
        "senses": senses,
        "synonyms": list(choice.kept),
        "dropped": dict(choice.dropped),
        "note": choice.note,
        "entry": _entry(choice),
    }


def _explain(choice: Choice) -> str:
    """The choice as text: senses with their probabilities, synonyms, and the entry."""
    lines = [choice.word + (f" (as {choice.entry!r})" if choice.entry not in ("", choice.word) else "")]
    for sense, chance in choice.senses:
        seen = f"{chance:4.0%}" if sense.visible else "   -"
        text = f"{sense.name} [{sense.lexname}] {', '.join(sense.lemmas)}: {sense.gloss}"
        mark = "*" if sense == choice.sense else " "
        lines.append(textwrap.fill(text, WIDTH, initial_indent=f" {mark}{seen}  ", subsequent_indent=" " * 10))
    if choice.note:
        lines.append(f"  {choice.note}")
    lines += [f"  without {lemma!r}: {reason}" for lemma, reason in choice.dropped]
    return "\n".join([*lines, f"  -> {_entry(choice)!r}"])
