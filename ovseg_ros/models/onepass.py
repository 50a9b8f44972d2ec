"""The deployed graph: uint8 pixels and a text table in, label ids and confidence out, in one pass.

Everything a frame needs is in here (resize, normalise, segment, upsample, arg-max), so that one exported file serves
every backend and little crosses the bus. The words are an input: changing them never touches the graph.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.pixeltext import PixelText

CANDIDATES = 32  # classes upsampled per image; exact while an image shows at most so many of them


class OnePass(nn.Module):
    """PixelText between uint8 pixels and label ids.

    Args:
        net: the trained network.
        size: (height, width) the network works at, multiples of 16.
    """

    def __init__(self, net: PixelText, size: tuple[int, int]) -> None:
        super().__init__()
        self.net = net
        self.size = size

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Label every pixel.

        Args:
            image: (N, H, W, 3) uint8 RGB, any size.
            text: (K, S, D) float32 unit vectors, S synonyms a class, padded by repeating.

        Returns:
            labels (N, H, W) int32 in 0..K-1 and confidence (N, H, W) uint8, 255 times the softmax probability among
            the words and "none of these".
        """
        height, width = image.shape[1], image.shape[2]
        # uint8 is cast away first and back last: some compilers move no uint8 inside a graph
        x = image.to(torch.float32).permute(0, 3, 1, 2)
        x = F.interpolate(x, size=self.size, mode="bilinear", align_corners=False) * (2 / 255) - 1
        logits = self.class_logits(self.net(x), text)  # (N, K, h, w)
        labels, confidence = self.decide(logits)  # (N, 4h, 4w) both
        rows = torch.arange(height, device=image.device) * labels.shape[1] // height
        columns = torch.arange(width, device=image.device) * labels.shape[2] // width
        labels = labels.index_select(1, rows).index_select(2, columns)
        confidence = confidence.index_select(1, rows).index_select(2, columns)
        return labels, (confidence * 255 + 0.5).to(torch.uint8)

    def class_logits(self, features: Tensor, text: Tensor) -> Tensor:
        """Scaled cosines, the best synonym of each class: (N, C, h, w), (K, S, D) -> (N, K, h, w)."""
        k, s, d = text.shape
        cosines = self.net.cosines(features, text.reshape(k * s, d))
        n, _, h, w = cosines.shape
        return cosines.reshape(n, k, s, h, w).amax(dim=2) * self.net.scale()

    def decide(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Arg-max and confidence at four times the resolution, upsampling only classes that the image may show.

        Which classes those are is decided before upsampling: those that win most of the image, then those that come
        closest to winning somewhere. What the others weigh in the softmax is upsampled as one sum.

        Args:
            logits: (N, K, h, w).

        Returns:
            labels (N, 4h, 4w) int32 and confidence (N, 4h, 4w) float32, 0..1.
        """
        n, k, h, w = logits.shape
        other = self.net.other * self.net.scale()
        best = logits.amax(dim=1, keepdim=True)  # (N, 1, h, w)
        m = torch.sym_min(k, CANDIDATES)  # type: ignore[no-untyped-call]
        lead = (logits - best).amax(dim=(2, 3))  # (N, K), 0 for every class that wins somewhere
        won = (logits >= best).to(torch.float32).mean(dim=(2, 3))  # (N, K), share of the image
        candidates = (lead + won).topk(m, dim=1).indices  # (N, M)
        rest = torch.ones_like(lead).scatter(1, candidates, 0.0)[:, :, None, None]  # 1 for what is no candidate
        rest = torch.log(((logits - best).exp() * rest).sum(dim=1, keepdim=True) + 1e-6) + best
        rows = (candidates + k * torch.arange(n, device=logits.device)[:, None]).reshape(-1)
        few = logits.reshape(n * k, h, w).index_select(0, rows).reshape(n, m, h, w)
        few, rest = _quadruple(few), _quadruple(rest)
        top = few.amax(dim=1, keepdim=True)  # (N, 1, 4h, 4w)
        # arg-max as two maxima: compilers turn arg-max over channels into a sort, five times as slow
        order = torch.arange(m, device=logits.device, dtype=torch.float32)[:, None, None]
        winner = torch.where(few >= top, order, 0.0).amax(dim=1).to(torch.int64)  # (N, 4h, 4w)
        offsets = m * torch.arange(n, device=logits.device)[:, None, None]
        labels = candidates.reshape(-1).index_select(0, (winner + offsets).reshape(-1)).reshape(winner.shape)
        # the softmax's denominator in units of the winner, "none of these words" included
        total = (few - top).exp().sum(dim=1, keepdim=True) + (other - top).exp() + (rest - top).exp()
        return labels.to(torch.int32), (1 / total)[:, 0]


def _quadruple(x: Tensor) -> Tensor:
    """Four times the height and width, bilinear."""
    return F.interpolate(x, scale_factor=4.0, mode="bilinear", align_corners=False)
