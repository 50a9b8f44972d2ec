"""Where WordNet's files are, and nltk's reader over them. No network: nothing is ever downloaded."""

from __future__ import annotations

import hashlib
import io
import os
import re
import sys
import warnings
import weakref
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovseg_ros.errors import OvsegError

REMEDY = "`sudo apt install wordnet-base`, or `python -m nltk.downloader wordnet`, or name its folder in WNSEARCHDIR"
NEEDED = tuple(f"{kind}.{pos}" for kind in ("index", "data") for pos in ("noun", "adj", "adv", "verb"))
OPTIONAL = ("cntlist.rev", "noun.exc", "adj.exc", "adv.exc", "verb.exc")  # an empty file stands for these
SYSTEM = ("/usr/share/wordnet", "/usr/local/WordNet-3.0/dict")  # Debian's wordnet-base; Princeton's own installer
# lexnames(5WN): the file that numbers these categories is missing from Debian's package, as in other installations
CATEGORIES = (
    "adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition "
    "noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object "
    "noun.person noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape "
    "noun.state noun.substance noun.time verb.body verb.change verb.cognition verb.communication verb.competition "
    "verb.consumption verb.contact verb.creation verb.emotion verb.motion verb.perception verb.possession "
    "verb.social verb.stative verb.weather adj.ppl"
)
SYNTAX = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}  # a category's third column in that file


class LexiconError(OvsegError):
    """WordNet or its reader cannot be used; the text says how to get it."""


def find_wordnet(environment: Mapping[str, str] | None = None) -> Path:
    """WordNet's folder of `index.noun`, `data.noun` and so on, or nltk's `wordnet.zip`.

    Looked for in `WNSEARCHDIR`, `WNHOME/dict` (as WordNet's own programs do), nltk's data folders (`NLTK_DATA`,
    `~/nltk_data`, ...), then Debian's. The first two are the user's word: what they name must be there.

    Args:
        environment: in place of `os.environ`.

    Raises:
        LexiconError: there is none.
    """
    environment = os.environ if environment is None else environment
    for name, below in (("WNSEARCHDIR", ""), ("WNHOME", "dict")):
        if chosen := environment.get(name):
            return checked(Path(chosen, below), f"{name} names")
    folders = [Path(folder) for folder in environment.get("NLTK_DATA", "").split(os.pathsep) if folder]
    home = environment.get("HOME")
    folders += [Path(home, "nltk_data")] if home else []
    folders += [Path(sys.prefix, *below, "nltk_data") for below in ((), ("share",), ("lib",))]
    folders += [Path("/usr", *below, "nltk_data") for below in (("share",), ("local", "share"), ("lib",))]
    corpora = [folder / "corpora" / name for folder in folders for name in ("wordnet", "wordnet.zip")]
    for place in [*corpora, *map(Path, SYSTEM)]:
        if not _problem(place):
            return place
    raise LexiconError(f"there is no WordNet here, which synonyms come from: {REMEDY}")


def checked(place: Path, what: str = "it is expected in") -> Path:
    """The same place, if WordNet is there.

    Raises:
        LexiconError: it is not.
    """
    if problem := _problem(place):
        raise LexiconError(f"{what} {place}, but {problem}; WordNet comes by {REMEDY}")
    return place


def _problem(place: Path) -> str:
    """Why a place is no WordNet, or nothing."""
    if place.suffix == ".zip" and place.is_file():
        try:
            with zipfile.ZipFile(place) as archive:
                held = {Path(name).name for name in archive.namelist()}
        except (OSError, zipfile.BadZipFile):
            return "that is no readable zip file"
    elif place.is_dir():
        held = {path.name for path in place.iterdir()}
    else:
        return "there is no such folder or zip file"
    missing = [name for name in NEEDED if name not in held]
    return f"there is no {missing[0]} in it" if missing else ""


def read_member(place: Path, name: str) -> bytes:
    """A file of a WordNet folder or zip; empty where there is none.

    Raises:
        LexiconError: it cannot be read.
    """
    try:
        if place.suffix == ".zip":
            with zipfile.ZipFile(place) as archive:
                members = [member for member in archive.namelist() if Path(member).name == name]
                return archive.read(members[0]) if members else b""
        path = place / name
        return path.read_bytes() if path.exists() else b""
    except (OSError, zipfile.BadZipFile) as error:
        raise LexiconError(f"cannot read WordNet's {name} in {place}: {error}") from error


def identity(place: Path) -> str:
    """What the content is known by: its version and a hash of its nouns and counts, as in `wordnet-3.0-8c1f0bd2a4`."""
    index = read_member(place, "index.noun")
    version = re.search(rb"WordNet (\d+(?:\.\d+)*) Copyright", index[:4096])
    digest = hashlib.sha256(index + read_member(place, "cntlist.rev")).hexdigest()[:10]
    return f"wordnet-{version[1].decode() if version else 'unknown'}-{digest}"


def open_reader(place: Path) -> Any:
    """nltk's WordNetCorpusReader over a WordNet folder or zip; takes seconds and some 200 MB.

    Raises:
        LexiconError: nltk is not installed, or the files are damaged.
    """
    try:
        import nltk.data
        from nltk.corpus.reader.wordnet import WordNetCorpusReader, WordNetError
    except ImportError as error:
        raise LexiconError(
            f"synonyms need {error.name or 'nltk'}, which is not installed: `pip install 'ovseg_ros[words]'`"
        ) from error

    class Reader(WordNetCorpusReader):  # type: ignore[misc]
        """As nltk's, but needs neither the files that Debian leaves out nor nltk's own data; closes what it opens."""

        def __init__(self, root: Any) -> None:
            self._opened: list[Any] = []
            weakref.finalize(self, _close_all, self._opened)
            super().__init__(root, None)

        def open(self, file: str) -> Any:
            """A file of the corpus, or what stands for it where it may be missing."""
            if file == "lexnames":
                lines = (
                    f"{i:02d}\t{name}\t{SYNTAX[name[:4].rstrip('.')]}\n" for i, name in enumerate(CATEGORIES.split())
                )
                return io.StringIO("".join(lines))
            try:
                self._opened.append(super().open(file))
            except OSError:
                if file not in OPTIONAL:
                    raise
                return io.StringIO()
            return self._opened[-1]

        def map_wn(self, version: str = "wordnet") -> dict[str, str]:
            """A map between WordNet's versions, which only other languages need."""
            return {}

    # nltk opens files only below the folders that it was told of
    trusted = str(place.parent if place.suffix == ".zip" else place)
    if trusted not in nltk.data.path:
        nltk.data.path.append(trusted)
    root = nltk.data.ZipFilePathPointer(str(place), "wordnet/") if place.suffix == ".zip" else str(place)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The multilingual functions are not available")
            return Reader(root)
    except (OSError, ValueError, AssertionError, StopIteration, WordNetError) as error:
        raise LexiconError(f"the WordNet in {place} can't be read ({error}); it comes by {REMEDY}") from error


def _close_all(files: list[Any]) -> None:
    for file in files:
        file.close()
