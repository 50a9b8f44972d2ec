"""Text diversification: the same segment is asked for in other words of its class (GKC, arXiv 2303.09181).

A network that hears one word a class learns a vector for each word and forgets the space around it. So every segment
draws one of its class's synonyms, among those that a frozen CLIP finds likely for what the segment shows: of "person",
a crop may be "woman" or "skier" but hardly both. The drawn names make a list of classes for each image. The other way
the released code knows is without chance: all names of all classes, pooled by class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

LIKELY = 0.1  # probability above which a synonym may be drawn
SCALE = 100.0  # CLIP's, from cosines to logits

Embed = Callable[[Sequence[str]], Tensor]  # L names -> (L, D)


@dataclass(frozen=True)
class NameList:
    """The classes of one image.

    Attributes:
        names: L of them; the first K stand for the K classes of the data set, in their order.
        labels: place of each segment's own name.
    """

    names: tuple[str, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class NameTable:
    """The names of a batch as `losses.gkc.GkcWords` takes them, under the same names.

    Attributes:
        names: (N, L, D); shorter lists are filled up with zeros.
        labels: (M,) int64 for each image.
        real: (N, L) bool, False for what only fills up.
    """

    names: Tensor
    labels: list[Tensor]
    real: Tensor


def synonym_probabilities(regions: Tensor, synonyms: Tensor, scale: float = SCALE) -> Tensor:
    """How likely the synonyms of one class are for segments of it, by CLIP: a softmax among them.

    Args:
        regions: (M, D) image embeddings of the segments' boxes, of any length.
        synonyms: (S, D) text embeddings, of any length; published by the prompt "a photo of {}".
        scale: from cosines to logits.

    Returns:
        (M, S) float32, rows sum to 1.
    """
    cosines = F.normalize(regions.float(), dim=1) @ F.normalize(synonyms.float(), dim=1).T
    return (scale * cosines).softmax(dim=1)


def likely(synonyms: Sequence[str], probabilities: Sequence[float], least: float = LIKELY) -> tuple[str, ...]:
    """The synonyms a segment may be asked by: those above `least`, or the most probable where none is.

    Raises:
        ValueError: there are no synonyms, or as many probabilities do not come with them.
    """
    if not synonyms or len(synonyms) != len(probabilities):
        raise ValueError(
            f"{len(synonyms)} synonyms with {len(probabilities)} probabilities; expected at least one each"
        )
    kept = tuple(name for name, p in zip(synonyms, probabilities, strict=True) if p > least)
    return kept or (synonyms[int(np.argmax(probabilities))],)


def draw_names(
    plain: Sequence[str], classes: Sequence[int], choices: Sequence[Sequence[str]], rng: np.random.Generator
) -> NameList:
    """One name for each segment of an image, and the list of classes that follows ("thresRand" in the released code).

    The first name drawn for a class takes the place of its plain name; a further one, of another segment of that
    class, is appended, once however often it is drawn. Classes that the image does not show keep their plain names.

    Args:
        plain: K names, one a class.
        classes: the class of each of M segments, 0..K-1.
        choices: the names that each segment may draw from, see `likely`.
        rng: where chance comes from.

    Raises:
        ValueError: a class is none of the K, a segment has no name to draw, or their numbers differ.
    """
    if len(classes) != len(choices):
        raise ValueError(f"{len(classes)} segments with choices of names for {len(choices)}; expected as many")
    names, taken = list(plain), set[int]()
    labels = []
    for owner, own in zip(classes, choices, strict=True):
        if not 0 <= owner < len(plain) or not own:
            raise ValueError(
                f"a segment is of class {owner} with {len(own)} names to draw from; expected 0 to {len(plain) - 1}, "
                "and at least one name"
            )
        name = own[int(rng.integers(len(own)))]
        if owner not in taken:
            names[owner] = name
            taken.add(owner)
        if names[owner] == name:
            labels.append(owner)
            continue
        if name not in names[len(plain) :]:
            names.append(name)
        labels.append(names.index(name, len(plain)))
    return NameList(tuple(names), tuple(labels))


def name_table(lists: Sequence[NameList], embed: Embed) -> NameTable:
    """The lists of a batch, embedded: every name once, whatever number of images asks for it.

    Args:
        lists: one an image.
        embed: the text encoder, frozen.

    Raises:
        ValueError: there is no image.
    """
    if not lists:
        raise ValueError("there are no lists of names to embed; expected one for each image of the batch")
    distinct = {name: i for i, name in enumerate(dict.fromkeys(name for own in lists for name in own.names))}
    table = embed(list(distinct))  # (all, D)
    rows = [table[torch.tensor([distinct[name] for name in own.names], device=table.device)] for own in lists]
    lengths = torch.tensor([len(own) for own in rows], device=table.device)
    names = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)  # (N, L, D)
    real = torch.arange(names.shape[1], device=table.device) < lengths[:, None]
    return NameTable(names, [torch.tensor(own.labels, dtype=torch.int64) for own in lists], real)


def all_names(synonyms: Sequence[Sequence[str]]) -> tuple[list[str], Tensor]:
    """All names of all classes, for losses that pool them ("clusterMax", "clusterAvg" in the released code).

    Args:
        synonyms: the names of each of K classes, its own among them.

    Returns:
        L names, and (L,) int64, the class of each: `names` (once embedded) and `owner` of `losses.gkc.GkcWords`.

    Raises:
        ValueError: a class has no name.
    """
    if empty := [i for i, names in enumerate(synonyms) if not names]:
        raise ValueError(f"class {empty[0]} has no name; give each class at least its own")
    owner = [i for i, names in enumerate(synonyms) for _ in names]
    return [name for names in synonyms for name in names], torch.tensor(owner, dtype=torch.int64)
