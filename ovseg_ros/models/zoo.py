"""The models that can be built, as data: a training-free method on the trunk of any open_clip ViT, or a paper's system.

The systems stand in `systems`.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace

from ovseg_ros.errors import ModelError
from ovseg_ros.models.systems import SystemSpec, find_system, listed_systems

METHODS = ("clip", "maskclip", "sclip", "clearclip", "naclip", "resclip", "sc-clip")
ARCHITECTURES = ("ViT-B-16", "ViT-B-32", "ViT-L-14", "ViT-L-14-336")  # listed; any other open_clip ViT works as well
SCALES = {"clearclip": 50.0, "clip": 100.0}  # from cosines to logits; 40 for the others
LICENCES = (  # first match on the tag
    ("openai", "MIT (OpenAI CLIP)"),
    ("metaclip", "CC BY-NC 4.0 (MetaCLIP)"),
    ("dfn", "Apple ASCL (DFN)"),
    ("laion", "MIT (LAION)"),
    ("datacomp", "MIT (DataComp)"),
    ("commonpool", "MIT (DataComp)"),
    ("random", "Apache-2.0 (random numbers)"),
)


@dataclass(frozen=True)
class ModelSpec:
    """A training-free method on a trunk.

    Attributes:
        name: for example naclip-vit-b-16.
        method: one of `METHODS`.
        architecture: the open_clip name of the CLIP model.
        tag: the open_clip tag of the weights that are taken where none are named.
        size: (height, width) the network works at, multiples of the patch.
        scale: from cosines to logits.
        prompts: the prompt set for words that come without templates. The methods' papers use P80; P14 costs a sixth
            of the time when words change on a robot.
    """

    name: str
    method: str
    architecture: str
    tag: str = "openai"
    size: tuple[int, int] = (384, 512)
    scale: float = 40.0
    prompts: str = "P14"


def listed_models() -> list[ModelSpec]:
    """The methods on the usual architectures."""
    return [model_spec(method, architecture) for method in METHODS for architecture in ARCHITECTURES]


def find_spec(name: str) -> ModelSpec | SystemSpec:
    """Any model that can be built, by its name.

    Raises:
        ModelError: for an unknown name; offers the nearest ones.
    """
    return find_system(name) or find_model(name)


def find_model(name: str) -> ModelSpec:
    """A training-free model by its name, METHOD-ARCHITECTURE in lower case, for example `naclip-vit-b-16`.

    Raises:
        ModelError: for an unknown method or architecture; offers the nearest names.
    """
    method = next((m for m in METHODS if name.startswith(f"{m}-")), None)
    known = {_slug(architecture): architecture for architecture in _architectures()}
    if method and (architecture := known.get(name[len(method) + 1 :])):
        return model_spec(method, architecture)
    systems = [spec.name for spec in listed_systems()]
    names = [*systems, *(spec.name for spec in listed_models())]
    if method:
        names += [f"{method}-{slug}" for slug in known]
    near = difflib.get_close_matches(name, names, 3, cutoff=0.5)
    forms = f"a name is METHOD-ARCHITECTURE, e.g. naclip-vit-b-16, or one of {', '.join(systems)}"
    hint = f"did you mean {' or '.join(near)}?" if near else forms
    raise ModelError(f"there is no model {name[:100]!r} to build; {hint} (methods: {', '.join(METHODS)})")


def licence_of(tag: str) -> str:
    """The licence of published weights, as far as the tag tells."""
    return next((licence for key, licence in LICENCES if key in tag), f"that of {tag!r}; see its publisher")


def model_spec(method: str, architecture: str) -> ModelSpec:
    """A method on an architecture, both by their exact names, at the size nearest to the usual one."""
    spec = ModelSpec(f"{method}-{_slug(architecture)}", method, architecture)
    found = re.match(r"[A-Za-z]+-[A-Za-z]+-(\d+)", architecture)  # ViT-B-16: the patch
    patch = int(found[1]) if found else 16
    height, width = (round(side / patch) * patch for side in spec.size)
    return replace(spec, scale=SCALES.get(method, spec.scale), size=(height, width))


def _slug(architecture: str) -> str:
    return architecture.lower().replace("/", "-")


def _architectures() -> tuple[str, ...]:
    """Every architecture that the installed open_clip knows; those listed here where it is not installed."""
    try:
        import open_clip
    except ImportError:
        return ARCHITECTURES
    return tuple(open_clip.list_models())
