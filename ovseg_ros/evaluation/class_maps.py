"""A torch network under a protocol: class maps averaged over views, resized to the labels' size, then the arg-max.

Maps of all classes at full size would take gigabytes (847 classes at 640x853: 1.8 GB). Upsampling, averaging and
resizing treat each class by itself, so classes pass through in chunks, and only the best one so far is kept: the
labels are those of the whole computation. A softmax needs all classes at once, so its denominator is summed first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Protocol as Interface
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ovseg_ros.evaluation.protocols import Protocol, Size
from ovseg_ros.models.mask_read_out import Proposals
from ovseg_ros.models.onepass import DenseModel, MaskModel

CHUNK = 32  # classes upsampled at a time
BATCH = 8  # windows a pass


class Maps(Interface):
    """The class maps of a batch of inputs at their own size, a chunk of classes at a time."""

    kind: str  # "logits", "mass" or "probabilities"

    def of(self, chunk: slice) -> Tensor:
        """(N, C, H, W) of the classes in the chunk."""


class LogitMaps:
    """Logits of a dense network: on its grid, (N, K, h, w), upsampled to its input; padding cut off.

    Args:
        logits: (N, K, h, w).
        padded: (height, width) of the network's input.
        image: (height, width) of the picture in its top left corner.
    """

    kind = "logits"

    def __init__(self, logits: Tensor, padded: Size, image: Size) -> None:
        self.logits, self.padded, self.image = logits, padded, image

    def of(self, chunk: slice) -> Tensor:
        """See `Maps`."""
        large = F.interpolate(self.logits[:, chunk], size=self.padded, mode="bilinear", align_corners=False)
        return large[:, :, : self.image[0], : self.image[1]]


class ProbabilityMaps:
    """Probabilities of logit maps: the sigmoid of each class, or the softmax over them all.

    Args:
        maps: the logits.
        sigmoid: whether classes were trained each by itself.
        other: logit of "none of these words", for the softmax; None without.
    """

    kind = "probabilities"

    def __init__(self, maps: LogitMaps, *, sigmoid: bool, other: Tensor | None) -> None:
        self.maps = maps
        self.total: Tensor | None = None  # log of the softmax's denominator, (N, 1, H, W)
        if not sigmoid:
            parts = [maps.of(chunk).logsumexp(dim=1, keepdim=True) for chunk in _chunks(maps.logits.shape[1])]
            if other is not None:
                parts.append(other.expand_as(parts[0]))
            self.total = torch.cat(parts, dim=1).logsumexp(dim=1, keepdim=True)

    def of(self, chunk: slice) -> Tensor:
        """See `Maps`."""
        logits = self.maps.of(chunk)
        return logits.sigmoid() if self.total is None else (logits - self.total).exp()


class MassMaps:
    """What mask proposals say of each class, `mask_read_out.class_map` in chunks.

    Args:
        masks: (N, Q, h, w) logits.
        classes: (N, Q, K) probabilities.
        padded, image: as for `LogitMaps`.
    """

    kind = "mass"

    def __init__(self, masks: Tensor, classes: Tensor, padded: Size, image: Size) -> None:
        large = F.interpolate(masks, size=padded, mode="bilinear", align_corners=False)
        self.inside = large[:, :, : image[0], : image[1]].sigmoid()
        self.classes = classes

    def of(self, chunk: slice) -> Tensor:
        """See `Maps`."""
        return torch.einsum("nqc,nqhw->nchw", self.classes[:, :, chunk], self.inside)


class Canvas:
    """Views of one image laid over each other: windows averaged where they overlap, then with the whole image.

    Args:
        size: (height, width) of the canvas.
        views: maps with the top left corners (y, x) of their items.
        whole: maps of the whole image at another size, which weigh as much as all views together.
    """

    def __init__(self, size: Size, views: Sequence[tuple[Maps, Sequence[Size]]], whole: Maps | None = None) -> None:
        self.size, self.views, self.whole = size, views, whole
        self.kind = views[0][0].kind

    def of(self, chunk: slice) -> Tensor:
        """(1, C, H, W) of the classes in the chunk."""
        total = count = torch.zeros(())
        for maps, corners in self.views:
            for part, (y, x) in zip(maps.of(chunk), corners, strict=True):
                h, w = part.shape[1:]
                margins = (x, self.size[1] - x - w, y, self.size[0] - y - h)
                total = total.to(part.device) + F.pad(part, margins)
                count = count.to(part.device) + F.pad(torch.ones_like(part[:1]), margins)
        mean = (total / count)[None]
        if self.whole is None:
            return mean
        return (mean + F.interpolate(self.whole.of(chunk), size=self.size, mode="bilinear", align_corners=False)) / 2


class ClassMapper:
    """A network, and how a protocol feeds it.

    Args:
        net: a `DenseModel` or `MaskModel`, in evaluation mode, that takes inputs of any size. One that was trained
            with a sigmoid a class says so by an attribute `sigmoid = True`; others are read with a softmax. One that
            sees windows at a size of its own has its side as `window`.
        protocol: any but `native`.
        text: (K, S, D) unit vectors; synonyms beyond a class's own are repetitions.
        synonyms: how many words each class has, K numbers up to S.
        device: where the network is.
    """

    def __init__(
        self, net: nn.Module, protocol: Protocol, text: Tensor, synonyms: Sequence[int], device: str = "cpu"
    ) -> None:
        self.net, self.protocol, self.device = net, protocol, device
        self.owner = torch.arange(len(synonyms), device=device)
        if protocol.words_apart:  # (K, S, D) -> (words, 1, D), without the repetitions
            self.owner = self.owner.repeat_interleave(torch.tensor(synonyms, device=device))
            text = torch.cat([text[k, :count] for k, count in enumerate(synonyms)])[:, None]
        self.text = text.to(device)
        model = cast(DenseModel, net)
        self.mean = 255 * torch.tensor(model.pixel_mean, device=device).reshape(1, 3, 1, 1)
        self.std = 255 * torch.tensor(model.pixel_std, device=device).reshape(1, 3, 1, 1)
        cell: int = getattr(net, "multiple", model.stride * model.coarse)
        self.multiple = protocol.multiple if protocol.multiple % cell == 0 else cell
        self.window: int | None = getattr(net, "window", None) if protocol.windows else None

    @torch.inference_mode()
    def __call__(self, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Label an image.

        Args:
            rgb: (H, W, 3) uint8.

        Returns:
            labels (H, W) int64 in 0..K-1 and confidence (H, W) float32, 0..1: the softmax probability of logits
            (beside "none of these words" where the network has that answer), the averaged probability, or a mask
            network's share.
        """
        canvas = self._canvas(rgb)
        height, width = rgb.shape[:2]
        best = torch.full((height, width), -math.inf, device=self.device)
        label = torch.zeros((height, width), dtype=torch.int64, device=self.device)
        sums = []  # over the classes of each chunk
        for chunk in _chunks(len(self.owner)):
            maps = F.interpolate(canvas.of(chunk), size=(height, width), mode="bilinear", align_corners=False)[0]
            top, index = maps.max(dim=0)
            label = torch.where(top > best, index + chunk.start, label)
            best = torch.maximum(best, top)
            sums.append(maps.logsumexp(dim=0) if canvas.kind == "logits" else maps.sum(dim=0))
        confidence = self._confidence(canvas.kind, best, torch.stack(sums))
        return self.owner[label].cpu().numpy(), confidence.cpu().numpy()

    def _confidence(self, kind: str, best: Tensor, sums: Tensor) -> Tensor:
        if kind == "logits":
            other = cast(DenseModel, self.net).other_logit()
            if other is not None:
                sums = torch.cat([sums, other.to(sums).expand_as(sums[:1])])
            return (best - sums.logsumexp(dim=0)).exp()
        if kind == "mass":
            return best / sums.sum(dim=0).clamp(min=1.0)
        return best.clamp(0.0, 1.0)

    def _canvas(self, rgb: NDArray[np.uint8]) -> Canvas:
        """All views of an image through the network."""
        protocol = self.protocol
        if protocol.resize is None:
            raise ValueError("the native protocol is the deployed graph's; use onepass.OnePass")
        resized = torch.from_numpy(protocol.resize(rgb).copy()).to(self.device, torch.float32)
        image = resized.permute(2, 0, 1)[None]  # (1, 3, H, W), 0..255
        picture = image if protocol.square is None else _resize(image, (protocol.square, protocol.square))
        size = (picture.shape[2], picture.shape[3])
        windows = protocol.windows
        sides = (min(windows.side, size[0]), min(windows.side, size[1])) if windows else size
        rows, columns = (windows.starts(side) if windows else [0] for side in size)
        corners = [(y, x) for y in rows for x in columns]
        views = []
        for start in range(0, len(corners), BATCH):
            some = corners[start : start + BATCH]
            cut = torch.cat([picture[:, :, y : y + sides[0], x : x + sides[1]] for y, x in some])
            views.append((self._maps(cut), some))
        whole = None if protocol.whole is None else self._maps(_resize(image, (protocol.whole, protocol.whole)))
        return Canvas(size, views, whole)

    def _maps(self, pixels: Tensor) -> Maps:
        """One pass: (N, 3, h, w) of 0..255 -> maps at h x w. Padding follows normalisation: it is the mean colour."""
        height, width = pixels.shape[2:]
        x = (pixels - self.mean) / self.std
        if self.window:  # nothing to pad, and the maps are resized to the view as any logits are
            x = _resize(x, (self.window, self.window))
            padded = image = (height, width)
        else:
            x = F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple))
            padded, image = (x.shape[2], x.shape[3]), (height, width)
        features: Tensor | Proposals = self.net.features(x, self.text)  # type: ignore[operator]
        if isinstance(features, Proposals):
            masked = cast(MaskModel, self.net)
            return MassMaps(features.masks, masked.classes(features.embeddings, self.text), padded, image)
        dense = cast(DenseModel, self.net)
        maps = LogitMaps(dense.scores(features, self.text), padded, image)
        if self.protocol.average == "scores":
            return maps
        sigmoid = bool(getattr(self.net, "sigmoid", False))
        return ProbabilityMaps(maps, sigmoid=sigmoid, other=dense.other_logit())


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK))


def _resize(image: Tensor, size: Size) -> Tensor:
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False)
