"""Mask2Former's parts (Cheng et al., arXiv 2112.01527), under the names of its published checkpoints."""

from ovseg_ros.models.mask2former.deformable import MSDeformAttn
from ovseg_ros.models.mask2former.layers import ConvNorm, Mlp, MultiheadAttention, sine_positions
from ovseg_ros.models.mask2former.pixel_decoder import PixelDecoder, PixelDecoderConfig
from ovseg_ros.models.mask2former.transformer_decoder import DecoderConfig, MaskedDecoder, State

__all__ = [
    "ConvNorm",
    "DecoderConfig",
    "MSDeformAttn",
    "MaskedDecoder",
    "Mlp",
    "MultiheadAttention",
    "PixelDecoder",
    "PixelDecoderConfig",
    "State",
    "sine_positions",
]
