"""DeOP's published checkpoint into our model: every tensor has a place, is left aside for a reason, or is an error."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

from ovseg_ros.errors import ModelError
from ovseg_ros.models.clip_weights import vision_state
from ovseg_ros.models.converting import checkpoint_tensors, left_aside, renamed, unmatched
from ovseg_ros.models.deop import Deop
from ovseg_ros.models.deop_prompt import PromptedText, text_state

CLIP = "clip_adapter.clip_model."

# what has no place in our model, and why
LEFT_ASIDE = (
    (re.compile(r"^criterion\."), "the loss's class weights"),
    (re.compile(r"^decoder\.norm\."), "normalises an output that nothing reads"),
    (re.compile(r"^clip_adapter\.clip_model\.logit_scale$"), "the published model multiplies by 100"),
    (re.compile(r"^pixel_(mean|std)$"), "constants of ours"),
    (re.compile(r"num_batches_tracked$"), "a counter of training"),
)

# (pattern in a checkpoint, our name), for all but CLIP
RENAMES = (
    (re.compile(r"^(backbone|sem_seg_head)\."), r"proposer.\1."),
    (re.compile(r"^clip_adapter\.non_object_embedding$"), "no_object"),
    (re.compile(r"^query_embedding\.weight$"), "anchors.queries.weight"),
    (re.compile(r"^decoder\.layers\.(\d+)\.multihead_attn_my\."), r"anchors.layers.\1.multihead_attn."),
    (re.compile(r"^decoder\.layers\."), "anchors.layers."),
    (re.compile(r"^decoder\.outlayer\.(self_attn|norm1)\."), r"anchors.last.\1."),
)
ANCHOR_PROJECTION = re.compile(r"^decoder\.outlayer\.multihead_attn_my\.in_proj_(weight|bias)$")
PROMPT = {
    "prefix_prompt": "context",
    "start_signal": "start",
    "dot_signal": "dot",
    "end_signal": "end",
    "pad_signal": "pad",
}


def load_deop(
    model: Deop, state: Mapping[str, object], text: PromptedText | None = None, source: str = "the checkpoint"
) -> dict[str, str]:
    """Put a published checkpoint into the model, and its text side into the prompt.

    Args:
        model: of the checkpoint's sizes; changed in place once all fits.
        state: names and tensors, or detectron2's {"model": names and tensors}; NumPy arrays are taken as well.
        text: takes the prompt and the text tower; they are left aside without it.
        source: what to call the checkpoint in errors, for instance its file name.

    Returns:
        the names that were left aside, with the reason.

    Raises:
        ModelError: the checkpoint is another model's; counts the tensors that do not match and names the first of
            them. `converting.unmatched` gives all.
    """
    ours, words, aside = split(state)
    check_fits(model, ours, f"{source} is not of this model")
    if text is not None:
        check_fits(text, words, f"{source} is not of this model")
        text.load_state_dict(words)
    else:
        aside |= dict.fromkeys(words, "belongs to the text side, which was not asked for")
    model.load_state_dict(ours)
    return aside


def split(state: Mapping[str, object]) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, str]]:
    """A checkpoint's tensors under our names: the model's, the text side's; and the names left aside, with reasons.

    A name that nothing is known about stays as it is.
    """
    tensors = checkpoint_tensors(state)
    aside = left_aside(tensors, LEFT_ASIDE)
    kept = {key: value for key, value in tensors.items() if key not in aside}
    clip = {key.removeprefix(CLIP): kept.pop(key) for key in list(kept) if key.startswith(CLIP)}
    words = text_state(clip)
    ours = {f"trunk.{key}": value for key, value in vision_state(clip).items()}
    ours |= {CLIP + key: value for key, value in clip.items() if not _known(key, words)}
    for key, value in kept.items():
        learned = key.removeprefix("clip_adapter.prompt_learner.")
        if learned != key and learned in PROMPT:
            words[PROMPT[learned]] = value
        elif found := ANCHOR_PROJECTION.match(key):
            ours |= _anchor_projections(found[1], value)
        else:
            ours[renamed(key, RENAMES)] = value
    return ours, words, aside


def _anchor_projections(kind: str, value: Tensor) -> dict[str, Tensor]:
    """The stored q, k and v rows: the last third is never used."""
    query, key, _ = value.chunk(3)
    return {f"anchors.last.query.{kind}": query, f"anchors.last.key.{kind}": key}


def _known(key: str, words: Mapping[str, Tensor]) -> bool:
    """Whether one of the two towers took a CLIP tensor."""
    return key.startswith("visual.") or key.replace("transformer.resblocks.", "blocks.") in words


def check_fits(model: nn.Module, theirs: Mapping[str, Tensor], otherwise: str) -> None:
    """Refuse a checkpoint that differs from a model; counters of training are left aside.

    Args:
        model: what it should be of.
        theirs: its tensors under our names.
        otherwise: how the error begins.

    Raises:
        ModelError: it differs.
    """
    ours = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    if problems := unmatched(ours, theirs):
        raise ModelError(f"{otherwise}: {problems}; take DeOP's model_final.pth")
