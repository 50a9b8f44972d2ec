"""Segmenters without training: CLIP's weights with another last block.

Five methods are one row of a table each. Two look at the image twice: ResCLIP (its labels gate the attention) and
SC-CLIP (outlying tokens are mended, and features of the middle blocks help). All have the trunk's dense interface.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg_ros.errors import ModelError
from ovseg_ros.models.attention import (
    KK_WINDOW,
    QK,
    QQ,
    QQ_KK,
    Context,
    Given,
    Identity,
    attention_matrix,
    gaussian_window,
)
from ovseg_ros.models.clip import BlockRule, VisionTransformer, to_map
from ovseg_ros.models.clip_config import ClipVisionConfig
from ovseg_ros.models.outliers import local_outliers, mend
from ovseg_ros.models.positions import Resize

# the last block of each method
METHODS: Mapping[str, BlockRule] = {
    "clip": BlockRule(QK),  # arXiv 2103.00020
    # arXiv 2112.01071, with residual and FFN as in the authors' code; ClearCLIP's re-run of it drops both
    "maskclip": BlockRule(Identity()),
    "sclip": BlockRule(QQ_KK),  # arXiv 2312.01597, correlative self-attention: a sum of two softmaxes, not a mean
    "clearclip": BlockRule(QQ, residual=0, ffn=False),  # arXiv 2407.12442
    "naclip": BlockRule(KK_WINDOW, residual=0, ffn=False),  # arXiv 2404.08181
    "resclip": BlockRule(Given(), residual=0, ffn=False),  # arXiv 2411.15851, on NACLIP
    "sc-clip": BlockRule(Given(), residual=0, ffn=False),  # arXiv 2411.15869
}


def training_free(method: str, config: ClipVisionConfig, resize: Resize = "size") -> VisionTransformer:
    """The trunk of a method, with random weights until `load_clip` fills them.

    Args:
        method: a key of `METHODS`.
        config: of any CLIP ViT.
        resize: how positions meet other grids; "offset" for parity with the published numbers.

    Returns:
        A module whose `forward(image)` gives (N, D, h, w) as `VisionTransformer` does; that of "resclip" also takes
        the text table, and without it stops after the first pass.

    Raises:
        ModelError: no such method.
    """
    if method not in METHODS:
        raise ModelError(f"there is no training-free method {method!r}; expected one of {', '.join(METHODS)}")
    kind = {"resclip": ResClip, "sc-clip": ScClip}.get(method, VisionTransformer)
    return kind(config, {-1: METHODS[method]}, resize)


@dataclass(frozen=True)
class ResClipSettings:
    """ResCLIP's constants, those of its released ADE20K configuration.

    Attributes:
        blocks: first and last of the blocks whose attention is borrowed, counted from 1 in twelve.
        residual, scale: lambda and tau of the borrowed attention (the paper's RCS).
        feedback, feedback_scale: lambda and tau of the labels' gate (SFR).
        smoothing: standard deviation, in patches, of the Gaussian along each row of the gate.
    """

    blocks: tuple[int, int] = (6, 9)
    residual: float = 0.3
    scale: float = 2.0
    feedback: float = 0.7
    feedback_scale: float = 2.1
    smoothing: float = 5.0


class ResClip(VisionTransformer):
    """ResCLIP on NACLIP (arXiv 2411.15851): attention borrowed from the middle blocks, then gated by the labels.

    First pass: A = tau ((1 - lambda) softmax(k k^T / sqrt(d) + window) + lambda mean(QK attention of blocks 6 to 9)).
    Second pass: in the softmax, k k^T / sqrt(d) becomes tau' ((1 - lambda') k k^T / sqrt(d) + lambda' G), G the gate
    of the first pass's labels. Only the last block runs twice.

    Choices where the released code costs more than a frame allows: labels are the arg-max on the patch grid (there:
    at full resolution after PAMR, thresholded, then each patch's most frequent), and same-label pairs decay with
    distance always (there: only where the straight line between them leaves the label).
    """

    settings = ResClipSettings()

    def forward(self, image: Tensor, text: Tensor | None = None) -> Tensor:
        """Dense features of the second pass, or of the first where no text is given.

        Args:
            image: (N, 3, H, W) as for the trunk.
            text: (K, S, D) float unit vectors, the S synonyms of each class.

        Returns:
            (N, D, h, w) float.
        """
        x, borrowed, context = self.before_last(image)
        features = self.last(x, borrowed, context)
        if text is None:
            return features
        gate = self.gate(nearest_class(features, text), context.grid)
        return self.last(x, borrowed, context, gate.to(x.dtype))

    def before_last(self, image: Tensor) -> tuple[Tensor, Tensor, Context]:
        """Tokens before the last block (N, L, C), and the middle blocks' mean attention (N, H, L, L)."""
        x, grid = self.embed(image)
        context = Context(grid)
        first, last = (in_depth(n, self.config.layers) for n in self.settings.blocks)
        matrices = []
        for i in range(self.config.layers - 1):
            if first <= i + 1 <= last:
                attn = self.attention(i)
                heads = attn.project(self.normed(i, x), "qk")
                matrices.append(attention_matrix(heads["q"], heads["k"]))
                x = self.step(i, x, replace(context, weights=matrices[-1]), BlockRule(Given()))
            else:
                x = self.step(i, x, context)
        return x, torch.stack(matrices).mean(dim=0), context

    def last(self, x: Tensor, borrowed: Tensor, context: Context, gate: Tensor | None = None) -> Tensor:
        """The last block and the projection: (N, L, C), (N, H, L, L), gate (N, L, L) -> (N, D, h, w)."""
        s = self.settings
        i = self.config.layers - 1
        k = self.attention(i).project(self.normed(i, x), "k")["k"]
        logits = (k * k.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if gate is not None:
            logits = s.feedback_scale * ((1 - s.feedback) * logits + s.feedback * gate[:, None])
        own = (logits + gaussian_window(context.grid, KK_WINDOW.window, k.shape[2], k)).softmax(dim=-1)
        weights = s.scale * ((1 - s.residual) * own + s.residual * borrowed)
        return to_map(self.project(self.step(i, x, replace(context, weights=weights))), context.grid)

    def gate(self, labels: Tensor, grid: tuple[int, int]) -> Tensor:
        """How much each patch should attend to each, by their labels: (N, h * w) integer -> (N, L, L) in 0..1.

        exp(-distance / largest distance) between patches of one label, 0 otherwise, distance being the larger of the
        steps down and across; smoothed along each row of the matrix by a Gaussian; rows divided by their sums, then
        all by the largest; 0 for CLS.
        """
        h, w = grid
        y = torch.arange(h, device=labels.device)[:, None].expand(h, w).reshape(-1)
        x = torch.arange(w, device=labels.device)[None, :].expand(h, w).reshape(-1)
        steps = torch.maximum((y[:, None] - y).abs(), (x[:, None] - x).abs()).to(torch.float32)
        decay = torch.exp(steps / -max(h - 1, w - 1, 1))
        gate = torch.where(labels[:, :, None] == labels[:, None, :], decay, 0.0)  # (N, h w, h w)
        gate = smooth_rows(gate, self.settings.smoothing)
        gate = gate / gate.sum(dim=-1, keepdim=True).clamp(min=1e-8)
        return F.pad(gate / gate.amax(dim=(1, 2), keepdim=True), (1, 0, 1, 0))


@dataclass(frozen=True)
class ScClipSettings:
    """SC-CLIP's constants, those of its released code; blocks are counted from 1 in twelve.

    Attributes:
        neighbours, contamination: of the local outlier factor, and the share of the patches taken for outliers.
        before, after: blocks whose similarity aggregates what enters and what leaves the last block.
        threshold: similarities under it do not aggregate (beta).
        sharpness: of the similarity as attention.
        cls: share of the CLS token added to the last block's output.
        levels: first and last block of those summed for the second pass.
    """

    neighbours: int = 30
    contamination: float = 0.05
    before: int = 9
    after: int = 4
    threshold: float = 0.4
    sharpness: float = 3.0
    cls: float = 0.3
    levels: tuple[int, int] = (4, 10)


class ScClip(VisionTransformer):
    """Self-calibrated CLIP (arXiv 2411.15869): outlying tokens mended, similarity of middle features as attention.

    With S and S' the cosine similarities of the patches after blocks 9 (mended) and 4, and agg(x, S) = rows of S,
    those under the threshold 0, divided by their sums, times x:

        A = (softmax(k k^T / sqrt(d)) + softmax(3 (S - mean S) where that is positive)) / 2
        f(x, c) = agg(attention of ln_1 x by A + 0.3 c, S')
        features = f(agg(mended patches after block 11, S), their CLS) + f(sum of blocks 4 to 10, its CLS)

    CLS is no key and no query of the last block. The mean of S is each image's own. Outliers by the textbook local
    outlier factor (`outliers.py`); the released code takes its own distance for the neighbour's.
    """

    settings = ScClipSettings()

    def forward(self, image: Tensor, weights: Tensor | None = None) -> Tensor:
        """Dense features, (N, 3, H, W) -> (N, D, h, w); `weights` is unused."""
        s, layers = self.settings, self.config.layers
        x, grid = self.embed(image)
        after = [x]
        for i in range(layers - 1):
            after.append(self.step(i, after[-1], Context(grid)))
        x = after[-1]
        outlying = local_outliers(x[:, 1:], s.neighbours, s.contamination)  # (N, h w)
        middle = similarity(mend(after[in_depth(s.before, layers)][:, 1:], outlying, grid))
        early = similarity(after[in_depth(s.after, layers)][:, 1:])
        first, last = (in_depth(n, layers) for n in s.levels)
        levels = torch.stack(after[first : last + 1]).sum(dim=0)
        patches = aggregate(mend(x[:, 1:], outlying, grid), middle, s.threshold)
        y = self.calibrated(patches, x[:, :1], middle) + self.calibrated(levels[:, 1:], levels[:, :1], middle)
        return to_map(self.project(aggregate(y, early, s.threshold)), grid)

    def calibrated(self, patches: Tensor, cls: Tensor, similar: Tensor) -> Tensor:
        """The last block's attention with the similarity mixed in: (N, P, C), (N, 1, C), (N, P, P) -> (N, P, C)."""
        s = self.settings
        i = self.config.layers - 1
        attn = self.attention(i)
        heads = attn.project(self.normed(i, patches), "kv")
        centred = (similar - similar.mean(dim=(1, 2), keepdim=True)) * s.sharpness
        learned = torch.where(centred < 0, -1e4, centred).softmax(dim=-1)  # the diagonal is never under the mean
        matrix = 0.5 * (attention_matrix(heads["k"], heads["k"]) + learned[:, None])
        return attn.merge(matrix @ heads["v"]) + s.cls * cls


def in_depth(block: int, layers: int) -> int:
    """A block counted from 1 in twelve, in a trunk of another depth; never the last one."""
    return min(max(1, round(block * layers / 12)), layers - 1)


def nearest_class(features: Tensor, text: Tensor) -> Tensor:
    """The class of each patch, the best synonym counting: (N, D, h, w), (K, S, D) -> (N, h * w) integer."""
    k, s, d = text.shape
    cosines = F.normalize(features.flatten(2), dim=1).transpose(1, 2) @ text.reshape(k * s, d).t()  # (N, h w, K S)
    return cosines.reshape(*cosines.shape[:2], k, s).amax(dim=3).argmax(dim=2)


def smooth_rows(x: Tensor, std: float) -> Tensor:
    """Each row of (N, R, R) convolved with a Gaussian of 6 std + 1 taps, zeros beyond the ends."""
    half = int(3 * std)
    taps = torch.exp(torch.arange(-half, half + 1, device=x.device).to(x.dtype).square() * (-0.5 / std**2))
    n, rows, columns = x.shape
    smooth = F.conv1d(x.reshape(n * rows, 1, columns), (taps / taps.sum())[None, None], padding=half)
    return smooth.reshape(n, rows, columns)


def similarity(tokens: Tensor) -> Tensor:
    """Cosines between tokens: (N, P, C) -> (N, P, P)."""
    unit = F.normalize(tokens, dim=-1)
    return unit @ unit.transpose(1, 2)


def aggregate(tokens: Tensor, similar: Tensor, threshold: float) -> Tensor:
    """Means weighted by the similarities from the threshold on: (N, P, C), (N, P, P) -> (N, P, C)."""
    weights = torch.where(similar < threshold, 0.0, similar)
    return (weights / (weights.sum(dim=-1, keepdim=True) + 1e-6)) @ tokens
