"""What training minimises.

`words` is the loss of the embedded checkpoints. The rest is that of the mask-classification systems: `masks` and
`points` (binary masks), `classes` (their classes), `criterion` (both, over all states of a decoder), `structure` and
`ebseg`, `distillation` and `gkc`, and `per_pixel` (DeOP's third stage, ESC-Net).
"""

from ovseg_ros.training.losses.words import dice_loss, word_loss

__all__ = ["dice_loss", "word_loss"]
