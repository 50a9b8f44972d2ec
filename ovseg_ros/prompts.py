"""Prompt templates, in named sets. Pure data; `{}` is where the word goes.

P0 is the word alone (for towers with a learned prompt, as DeOP's), P1 CAT-Seg's one template, P14 the fourteen of
ViLD (used by SAN, FC-CLIP and EBSeg), P80 the eighty that OpenAI chose for CLIP on ImageNet (used by the training-free
methods). Published sets differ in their full stops; these are as published.
"""

from __future__ import annotations

from ovseg_ros.errors import VocabularyError

P0 = ("{}",)

P1 = ("A photo of a {} in the scene",)

P14 = (
    "a photo of a {}.",
    "This is a photo of a {}",
    "There is a {} in the scene",
    "There is the {} in the scene",
    "a photo of a {} in the scene",
    "a photo of a small {}.",
    "a photo of a medium {}.",
    "a photo of a large {}.",
    "This is a photo of a small {}.",
    "This is a photo of a medium {}.",
    "This is a photo of a large {}.",
    "There is a small {} in the scene.",
    "There is a medium {} in the scene.",
    "There is a large {} in the scene.",
)

# Most of the eighty come in pairs, with "a" and with "the".
_PAIRED = (
    "art of {article} {}.",
    "graffiti of {article} {}.",
    "itap of {article} {}.",
    "{article} cartoon {}.",
    "{article} embroidered {}.",
    "{article} origami {}.",
    "{article} plastic {}.",
    "{article} plushie {}.",
    "{article} toy {}.",
    "{article} {} in a video game.",
    *(
        f"a {kind} of {{article}} {{}}."
        for kind in ("doodle", "drawing", "painting", "photo", "rendering", "rendition")
    ),
    *(f"a {kind} of {{article}} {{}}." for kind in ("sculpture", "sketch", "tattoo")),
    *(f"a {kind} photo of {{article}} {{}}." for kind in ("bad", "black and white", "blurry", "bright", "close-up")),
    *(f"a {kind} photo of {{article}} {{}}." for kind in ("cropped", "dark", "good", "jpeg corrupted")),
    *(f"a {kind} photo of {{article}} {{}}." for kind in ("low resolution", "pixelated")),
    *(f"a photo of {{article}} {kind} {{}}." for kind in ("clean", "cool", "dirty", "hard to see", "large", "nice")),
    *(f"a photo of {{article}} {kind} {{}}." for kind in ("small", "weird")),
)
_ALONE = ("a photo of many {}.", "a photo of my {}.", "a photo of one {}.", "itap of my {}.")

P80 = (*(form.replace("{article}", article) for form in _PAIRED for article in ("a", "the")), *_ALONE)

PROMPT_SETS = {"P0": P0, "P1": P1, "P14": P14, "P80": P80}


def prompt_set(name: str) -> tuple[str, ...]:
    """The templates of a set.

    Raises:
        VocabularyError: for an unknown name.
    """
    if name not in PROMPT_SETS:
        shown = name if len(name) <= 40 else name[:37] + "..."
        raise VocabularyError(
            f"there is no prompt set {shown!r}; known: {', '.join(PROMPT_SETS)}; prompt templates of your own come as "
            "a list such as ['a photo of a {}']"
        )
    return PROMPT_SETS[name]
