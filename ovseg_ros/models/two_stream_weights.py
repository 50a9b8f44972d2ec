"""DeOP's published checkpoint into the two-stream baseline: the same proposals and the same CLIP, run crop by crop.

What one pass saves and what it costs is then told by nothing but the passes. The baseline's own published weights
(arXiv 2112.14757) are another training and have no converter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ovseg_ros.models.converting import renamed
from ovseg_ros.models.deop_weights import check_fits, split
from ovseg_ros.models.two_stream import TwoStream

ONE_PASS_ONLY = ("anchors.", "trunk.extra_positions")  # what DeOP has and a CLIP that sees crops has no use for
RENAMES = (
    (re.compile(r"^proposer\."), "proposer.net."),
    (re.compile(r"^no_object$"), "proposer.no_object"),
    (re.compile(r"^trunk\."), "clip."),
)


def load_from_deop(model: TwoStream, state: Mapping[str, object], source: str = "the checkpoint") -> None:
    """Put DeOP's mask net and CLIP into the baseline.

    Args:
        model: of the checkpoint's sizes; changed in place once all fits.
        state: as for `deop_weights.load_deop`.
        source: what to call the checkpoint in errors.

    Raises:
        ModelError: the checkpoint is another model's; counts the tensors that do not match and names the first.
    """
    theirs = {renamed(key, RENAMES): x for key, x in split(state)[0].items() if not key.startswith(ONE_PASS_ONLY)}
    check_fits(model, theirs, f"{source} has not this model's masks and CLIP")
    model.load_state_dict(theirs, strict=False)
