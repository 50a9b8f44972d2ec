"""Names of models that can be built."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovseg_ros.errors import ModelError
from ovseg_ros.models.systems import find_system, listed_systems
from ovseg_ros.models.zoo import METHODS, find_model, find_spec, licence_of, listed_models


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


def test_the_papers_systems_are_there() -> None:
    names = [spec.name for spec in listed_systems()]
    assert names[:3] == ["ebseg-b", "ebseg-l", "deop-b"]
    assert len(set(names)) == len(names) == 10
    assert not any(name.endswith("-mini") for name in names)  # those are shipped
    for spec in listed_systems():
        assert find_spec(spec.name) is spec
        assert spec.refuse_size() is None
    assert find_spec("naclip-vit-b-16") == find_model("naclip-vit-b-16")


def test_an_unknown_system_and_a_size_that_does_not_divide_are_explained() -> None:
    assert find_system("ebseg-xl") is None
    with pytest.raises(ModelError, match="did you mean ebseg-l or ebseg-b"):
        find_spec("ebseg-xl")
    spec = find_system("cat-seg-l")
    assert spec is not None
    problem = "500x336 is no multiple of 14, as cat-seg-l needs it; try 504x336"
    assert problem in str(replace(spec, size=(500, 336)).refuse_size())
    assert "try 14x14" in str(replace(spec, size=(0, 7)).refuse_size())
