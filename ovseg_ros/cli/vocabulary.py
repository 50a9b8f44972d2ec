"""`ovseg vocabulary get|set`: the words of a running node, over the graph."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from ovseg_ros.cli.services import call
from ovseg_ros.cli.words import read_words
from ovseg_ros.lexicon import Lexicon, diversify
from ovseg_ros.vocabulary import Vocabulary


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    actions = parser.add_subparsers(dest="action", required=True)
    get = actions.add_parser("get", help="print the words in force")
    change = actions.add_parser("set", help="put new words in force")
    change.add_argument(
        "words", nargs="+", metavar="WORD", help="a class each: 'person, human'; or one YAML file or shipped name"
    )
    change.add_argument("--synonyms", action="store_true", help="add synonyms from WordNet to classes without any")
    for action in (get, change):
        action.add_argument("--namespace", default="", help="the node's namespace")
        action.add_argument("--timeout", type=float, default=10.0, help="seconds to wait for the node")
        action.add_argument("--json", action="store_true", help="print the reply as JSON")


def run(options: argparse.Namespace) -> int:
    """Call the service, print the reply; 1 where the node refuses the words."""
    from ovseg_ros import ros

    if options.action == "set":
        single = len(options.words) == 1 and (options.words[0].isidentifier() or options.words[0].endswith("ml"))
        words = read_words(options.words[0]) if single else Vocabulary.parse(options.words)
        if options.synonyms:
            words = diversify(words, Lexicon.open())
        request = ros.SetVocabulary.Request(classes=list(words.entries))
        request.templates = list(words.templates)
        request.thresholds = [math.nan if level is None else level for level in words.thresholds]
        if words.background is not None:
            request.background = words.names[words.background]
        reply = call(ros.SetVocabulary, "set_vocabulary", request, options.namespace, options.timeout)
        if options.json:
            print(json.dumps(_fields(reply, ("success", "message", "classes", "version"))))
        else:
            print(reply.message)
        return 0 if reply.success else 1
    reply = call(ros.GetVocabulary, "get_vocabulary", ros.GetVocabulary.Request(), options.namespace, options.timeout)
    if options.json:
        print(json.dumps(_fields(reply, ("model", "version", "classes", "templates"))))
    else:
        print(f"{reply.model}, vocabulary {reply.version}: {'; '.join(reply.classes)}")
    return 0


def _fields(reply: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: list(v) if isinstance(v := getattr(reply, name), (list, tuple)) else v for name in names}
