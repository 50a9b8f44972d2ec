"""Class lists: the published words, what they merge to, and which classes were seen."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from ovseg_ros.errors import DatasetError, VocabularyError
from ovseg_ros.evaluation.datasets import DATASETS, class_list, class_lists, class_variants, seen_flags, training_words

SHARED = Path(__file__).resolve().parents[3] / "shared"
ALL = [(name, variant) for name in class_lists() for variant in class_variants(name)]
COUNTS = {
    "camvid": 11, "ade150": 150, "ade847": 847, "voc20": 20, "voc20b": 21, "voc21": 21, "pc59": 59, "pc60": 60,
    "pc459": 459, "stuff": 171, "object": 81, "panoptic": 133, "city": 19,
}  # fmt: skip
FLAGS = {
    "stuff": ("coco_2017_test_stuff_sem_seg", 171), "voc20": ("voc_sem_seg_val", 20),
    "pc59": ("pcontext_sem_seg_val", 51), "pc459": ("pcontext_full_sem_seg_val", 94),
    "ade150": ("ade20k_sem_seg_val", 67), "ade847": ("ade20k_full_sem_seg_val", 115),
}  # fmt: skip


def test_there_is_a_list_for_every_data_set() -> None:
    assert set(class_lists()) == set(DATASETS) - {"folder"} == set(COUNTS)


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_lists_are_whole(name: str, variant: str) -> None:
    found = class_list(name, variant)
    assert len(found.names) == len(found.seen) == len(set(found.names)) == COUNTS[name]
    assert len(found.merge) == len(found.asked_seen) == len(found.synonyms)
    assert set(found.merge) == set(range(COUNTS[name]))  # every class is asked for
    assert all(word == word.strip() and word for words in found.synonyms for word in words)
    assert "github.com/" in found.source or found.source == "Pascal VOC's own names"
    assert (found.name, found.variant, found.trained_on) == (name, variant, "stuff171")
    if found.background is not None:
        assert found.names[found.background] == "background"
        assert not found.seen[found.background]


@pytest.mark.parametrize("name", FLAGS)
def test_classes_are_seen_as_official_ebseg_has_them(name: str) -> None:
    path = SHARED / "golden" / "ebseg_seen_flags.npz"
    if not path.is_file():
        pytest.skip(f"the official flags are not in {path}")
    key, count = FLAGS[name]
    with np.load(path) as flags:
        for variant in class_variants(name):
            found = class_list(name, variant)
            assert found.seen == found.asked_seen == tuple(flags[key].astype(bool).tolist())
            assert sum(found.seen) == count


@pytest.mark.parametrize(("name", "file"), [("stuff", "zegclip_coco_stuff_171"), ("voc20", "zegclip_voc_20")])
def test_names_are_those_of_another_repository(name: str, file: str) -> None:
    path = SHARED / "data" / "clip_text" / "names" / f"{file}.txt"
    if not path.is_file():
        pytest.skip(f"the names are not in {path}")
    lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    canonical = class_list(name).names
    plain = [name.replace("-", " ") for name in canonical]
    same = sum(a == b.replace("-", " ") for a, b in zip(plain, lines, strict=True))
    assert same >= 0.7 * len(lines)  # the others are reworded there: "floor-other" is a "floor"
    for mine, theirs in zip(plain, lines, strict=True):
        assert {*mine.split()} & {*theirs.replace("-", " ").split()} or mine in ("tv", *theirs.split())


def test_the_zero_shot_splits_are_the_published_ones() -> None:
    # SPNet (Xian et al., CVPR 2019), section 4
    stuff = class_list("stuff", trained_on="stuff156")
    assert {name for name, flag in zip(stuff.names, stuff.seen, strict=True) if not flag} == {
        "frisbee", "skateboard", "cardboard", "carrot", "scissors", "suitcase", "giraffe", "cow", "road",
        "wall-concrete", "tree", "grass", "river", "clouds", "playingfield",
    }  # fmt: skip
    voc = class_list("voc20", "multi", trained_on="voc15")
    assert voc.seen == (True,) * 15 + (False,) * 5
    assert voc.names[15:] == ("pottedplant", "sheep", "sofa", "train", "tv")


def test_flags_of_ones_own_words() -> None:
    assert len(training_words()) == 328
    classes = [("Automobile", "Cars"), ("  traffic  light",), ("forklift",), ("building-other",)]
    assert seen_flags(classes) == (True, True, False, False)
    assert seen_flags([("tree",), ("cow",)], "stuff156") == (False, False)


def test_a_background_of_other_classes_is_asked_for_and_merged() -> None:
    found = class_list("voc20b")
    assert (len(found.synonyms), found.background) == (59, 20)
    assert found.merge == (*range(20), *[20] * 39)
    predicted = np.array([[0, 19, 20], [58, 59, 255]], np.uint8)
    assert found.evaluated(predicted).tolist() == [[0, 19, 20], [20, 255, 255]]
    assert found.evaluated(np.array([-1, 4], np.int64)).tolist() == [255, 4]
    others = {words[0] for words in found.synonyms[20:]}
    context = {words[0] for words in class_list("pc59", "catseg").synonyms}
    assert len(others) == 39
    assert others < context
    assert not others & set(found.names)


def test_merged_labels_have_the_data_sets_dtype() -> None:
    found = class_list("ade847", "multi").distinct()
    labels = np.array([0, len(found.synonyms) - 1, len(found.synonyms), 65535], np.uint16)
    evaluated = found.evaluated(labels)
    assert evaluated.dtype == np.uint16
    assert evaluated.tolist() == [0, found.merge[-1], 65535, 65535]


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_distinct_lists_are_vocabularies_of_the_same_words(name: str, variant: str) -> None:
    published = class_list(name, variant)
    found = published.distinct()
    vocabulary = found.vocabulary(["a photo of a {}"])  # which checks that no word is there twice
    assert (vocabulary.classes, vocabulary.templates) == (found.synonyms, ("a photo of a {}",))
    assert (found.hash, found.names) == (published.hash, published.names)
    first: dict[str, int] = {}
    for place, words in zip(published.merge, published.synonyms, strict=True):
        for word in words:
            first.setdefault(word.casefold(), place)
    owners = {
        word.casefold(): place for place, words in zip(found.merge, found.synonyms, strict=True) for word in words
    }
    assert owners == first
    repeated = [word for word, count in Counter(w for words in published.synonyms for w in words).items() if count > 1]
    if not repeated and max(map(len, published.synonyms)) <= 32:
        assert found.synonyms == published.synonyms


def test_the_highest_score_wins_the_same_class_in_a_distinct_list() -> None:
    rng = np.random.default_rng(0)
    for name, variant in (("ade847", "multi"), ("voc21", "multi"), ("object", "training-free"), ("ade847", "catseg")):
        published, scores = class_list(name, variant), {}
        found = published.distinct()
        assert found.synonyms != published.synonyms
        for _ in range(20):
            best = []
            scores = {word.casefold(): rng.normal() for words in published.synonyms for word in words}
            for each in (published, found):
                most = [max(scores[word.casefold()] for word in words) for words in each.synonyms]
                best.append(each.merge[int(np.argmax(most))])
            assert best[0] == best[1]


def test_a_list_with_words_twice_is_no_vocabulary() -> None:
    with pytest.raises(VocabularyError, match="occurs twice"):
        class_list("ade847", "multi").vocabulary()


def test_names_with_commas_stay_one_prompt() -> None:
    published = class_list("ade847")
    assert published.synonyms[1] == ("building, edifice",) == published.names[1:2]
    assert published.vocabulary().names[1] == "building, edifice"
    assert class_list("ade847", "catseg").synonyms[1] == ("building",)


def test_the_hash_tells_words_apart() -> None:
    hashes = {(name, variant): class_list(name, variant).hash for name, variant in ALL}
    assert all(len(value) == 16 and int(value, 16) >= 0 for value in hashes.values())
    assert hashes["voc20", "catseg"] != hashes["voc20", "canonical"]  # tvmonitor, tv
    assert hashes["pc59", "catseg"] == hashes["pc59", "canonical"]  # the same words
    assert class_list("stuff", trained_on="stuff156").hash == hashes["stuff", "canonical"]


def test_what_is_unknown_is_refused_with_what_there_is() -> None:
    with pytest.raises(DatasetError, match="no class list 'ade'; expected ade150, ade847, camvid"):
        class_list("ade")
    with pytest.raises(DatasetError, match="no class list 'training'"):
        class_list("training")
    with pytest.raises(DatasetError, match="camvid has no variant 'multi'; expected canonical"):
        class_list("camvid", "multi")
    with pytest.raises(DatasetError, match="the training 'ade' is unknown; expected stuff171, stuff156, voc15, panop"):
        class_list("camvid", trained_on="ade")


def test_panoptic_names_are_those_of_coco() -> None:
    path = SHARED / "data" / "coco100" / "classes.yaml"
    if not path.is_file():
        pytest.skip(f"COCO's names are not in {path}")
    published = [name for i, name in yaml.safe_load(path.read_text())["classes"].items() if i]
    names = class_list("panoptic").names
    places = [names.index(name) for name in published]  # all are there, in the order of their ids
    assert places == sorted(places)
    assert len(places) > 100
