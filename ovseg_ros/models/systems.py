"""The papers' systems as data: at which size each was published, what its words are encoded by, whose weights it takes.

Nothing here needs torch; `system_weights` makes the networks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class SystemSpec:
    """A system that can be built.

    Attributes:
        name: what it is called by, for example ebseg-b.
        system: which of `system_weights.SYSTEMS`.
        config: which of that system's sizes.
        paper: where it is described.
        architecture: the open_clip name of the CLIP whose text tower encodes its words.
        checkpoint: the published weights, and where they are.
        licence: of those weights.
        size: (height, width) the network works at; the paper's, of the whole image in one pass.
        multiple: what both sides must be multiples of.
        prompts: the prompt set for words that come without templates; P0 where the prompt is learned.
        budget: whether it looks closely at a few classes only (`catseg_pass.ShortlistPass`).
        seen: the training whose words it counts as seen, of `evaluation/classes/training.yaml`; "" where it has no use
            for them.
    """

    name: str
    system: str
    config: str
    paper: str
    architecture: str
    checkpoint: str
    licence: str
    size: tuple[int, int]
    multiple: int
    prompts: str
    budget: bool = False
    seen: str = ""

    def refuse_size(self) -> str | None:
        """Why the size does not fit, with one that does; None where it fits."""
        cell = self.multiple
        if all(side >= cell and side % cell == 0 for side in self.size):
            return None
        near = "x".join(str(max(1, round(side / cell)) * cell) for side in self.size)
        return f"the size {self.size[0]}x{self.size[1]} is no multiple of {cell}, as {self.name} needs it; try {near}"


BASE, LARGE = "ViT-B-16-quickgelu", "ViT-L-14-336-quickgelu"
CATSEG_FILES = "huggingface.co/spaces/hamacojr/CAT-Seg-weights"
NO_CHECKPOINT = "none was published"

_EBSEG = SystemSpec(
    name="ebseg-b",
    system="ebseg",
    config="base",
    paper="arXiv 2406.09829",
    architecture=BASE,
    checkpoint="EBSeg_base.pth of huggingface.co/slonetime/EBSeg",
    licence="MIT (EBSeg)",
    size=(640, 640),
    multiple=32,
    prompts="P14",
    seen="stuff171",
)
_DEOP = SystemSpec(
    name="deop-b",
    system="deop",
    config="base",
    paper="arXiv 2304.01198",
    architecture=BASE,
    checkpoint="the model that github.com/CongHan0808/DeOP links to",
    licence="none is stated (DeOP)",
    size=(512, 512),
    multiple=32,
    prompts="P0",
)
_TWO_STREAM = replace(
    _DEOP,
    name="sim-baseline-b",
    system="two-stream",
    paper="arXiv 2112.14757",
    checkpoint="DeOP's, for the same masks and CLIP; its own has no converter",
)
_GKC = SystemSpec(
    name="gkc-rn50",
    system="gkc",
    config="rn50",
    paper="arXiv 2303.09181",
    architecture="RN50-quickgelu",
    checkpoint=f"{NO_CHECKPOINT}; train one with the released code",
    licence="that of your training; the released code is CC BY-NC 4.0",
    size=(512, 512),
    multiple=32,
    prompts="P14",
)
_CATSEG = SystemSpec(
    name="cat-seg-b",
    system="cat-seg",
    config="base",
    paper="arXiv 2303.11797",
    architecture=BASE,
    checkpoint=f"model_base.pth of {CATSEG_FILES}",
    licence="MIT (CAT-Seg)",
    size=(384, 384),
    multiple=16,
    prompts="P1",
    budget=True,
)
_ESC_NET = replace(
    _CATSEG,
    name="esc-net-b",
    system="esc-net",
    paper="arXiv 2411.14723",
    checkpoint=f"{NO_CHECKPOINT}; CAT-Seg's model_base.pth starts one, SAM's sam_vit_b_01ec64.pth may follow a comma",
    licence="MIT (CAT-Seg), Apache-2.0 (SAM)",
)


def _large(spec: SystemSpec) -> SystemSpec:
    """The same on CLIP ViT-L/14."""
    name = spec.name.removesuffix("b") + "l"
    file = spec.checkpoint.replace("_base", "_large")
    return replace(spec, name=name, config="large", architecture=LARGE, checkpoint=file)


SYSTEM_SPECS = (
    _EBSEG,
    _large(_EBSEG),
    _DEOP,
    _TWO_STREAM,
    _GKC,
    replace(_GKC, name="gkc-rn101", config="rn101", architecture="RN101-quickgelu"),
    _ESC_NET,
    replace(_large(_ESC_NET), size=(336, 336), multiple=14),
    _CATSEG,
    replace(_large(_CATSEG), size=(336, 336), multiple=14),
)


def listed_systems() -> tuple[SystemSpec, ...]:
    """Every system at every size it was published at."""
    return SYSTEM_SPECS


def find_system(name: str) -> SystemSpec | None:
    """A system by its name; None where there is none."""
    return next((spec for spec in listed_systems() if spec.name == name), None)
