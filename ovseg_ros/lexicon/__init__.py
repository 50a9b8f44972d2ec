"""Other words for the same thing, from WordNet: for a user's vocabulary, and for training."""

from ovseg_ros.lexicon.data import LexiconError, find_wordnet
from ovseg_ros.lexicon.diversify import diversify
from ovseg_ros.lexicon.lexicon import Choice, Lexicon
from ovseg_ros.lexicon.meaning import Choosing
from ovseg_ros.lexicon.senses import Sense
from ovseg_ros.lexicon.wordnet import Relative

__all__ = ["Choice", "Choosing", "Lexicon", "LexiconError", "Relative", "Sense", "diversify", "find_wordnet"]
