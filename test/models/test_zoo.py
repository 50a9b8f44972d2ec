"""Names of models that can be built."""

from __future__ import annotations

import pytest

from ovseg_ros.errors import ModelError
from ovseg_ros.models.zoo import METHODS, find_model, licence_of, listed_models


def test_every_method_is_there_on_every_usual_architecture() -> None:
    names = {spec.name for spec in listed_models()}
    assert len(names) == 7 * 4
    assert {"naclip-vit-b-16", "sc-clip-vit-l-14-336", "clip-vit-b-32"} <= names


def test_the_methods_are_those_that_the_trunk_has() -> None:
    pytest.importorskip("torch")
    from ovseg_ros.models.training_free import METHODS as BUILT

    assert set(METHODS) == set(BUILT)


@pytest.mark.parametrize("spec", listed_models(), ids=lambda spec: spec.name)
def test_the_usual_size_lies_on_the_patch_grid(spec: object) -> None:
    open_clip = pytest.importorskip("open_clip")
    patch = open_clip.get_model_config(spec.architecture)["vision_cfg"]["patch_size"]  # type: ignore[attr-defined]
    assert spec.size[0] % patch == spec.size[1] % patch == 0  # type: ignore[attr-defined]


def test_any_open_clip_name_makes_a_model() -> None:
    pytest.importorskip("open_clip")
    spec = find_model("clearclip-vit-h-14-quickgelu")
    assert (spec.method, spec.architecture, spec.size) == ("clearclip", "ViT-H-14-quickgelu", (378, 518))


@pytest.mark.parametrize(
    ("name", "offer"),
    [("naclip-vit-b-17", "naclip-vit-b-16"), ("naklip-vit-b-16", "naclip-vit-b-16"), ("x", "METHOD-ARCHITECTURE")],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, offer: str) -> None:
    with pytest.raises(ModelError, match=offer):
        find_model(name)


def test_licences_follow_the_tag() -> None:
    assert licence_of("openai").startswith("MIT")
    assert "NC" in licence_of("metaclip_400m")
    assert "see its publisher" in licence_of("someone_elses")
