"""Exported text towers, against open_clip's own forward at its full context length."""

from __future__ import annotations

import json
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP  # noqa: E402

from ovseg_ros.errors import ModelError, VocabularyError  # noqa: E402
from ovseg_ros.models.clip_text import TextTower, export_text_tower  # noqa: E402
from ovseg_ros.prompts import P14, PROMPT_SETS  # noqa: E402
from ovseg_ros.text import ClipTextEncoder, open_text_encoder, text_table  # noqa: E402
from ovseg_ros.vocabulary import Vocabulary  # noqa: E402

WORDS = ["car", "traffic light", "red", "potted plant", "Ökostrom", "車", "person", "street sign"]
PROMPTS = [
    *(template.format(word) for template in P14 for word in WORDS),
    "", "word " * 200, "a <end_of_text> b", "&amp;lt;", "🙂",
]  # fmt: skip
DESIGNS: dict[str, tuple[Any, dict[str, Any], bool]] = {
    "gelu": (CLIP, {}, False),
    "quickgelu": (CLIP, {"layers": 3, "heads": 4}, True),
    "custom": (CustomTextCLIP, {"width": 96, "heads": 3, "context_length": 32, "proj_bias": True}, True),
    "scaled": (CLIP, {"ls_init_value": 0.3, "proj_type": "none", "norm_kwargs": {"eps": 1e-3}, "mlp_ratio": 2}, False),
    "two-way": (CustomTextCLIP, {"no_causal_mask": True, "act_kwargs": {"approximate": "tanh"}}, False),
}  # fmt: skip


def build(design: str) -> Any:
    """A small open_clip model whose random weights float16 holds exactly, as it does OpenAI's."""
    kind, text, quick = DESIGNS[design]
    torch.manual_seed(0)
    vision = CLIPVisionCfg(layers=1, width=64, patch_size=32, image_size=32)
    options = {"width": 64, "heads": 2, "layers": 2} | text
    width = options["width"] if options.get("proj_type") == "none" else 48
    model = kind(width, vision, CLIPTextCfg(**options), quick_gelu=quick).eval()
    for parameter in model.parameters():
        parameter.data = (parameter + 0.05 * torch.randn_like(parameter)).half().float()
    return model


def expected(model: Any, prompts: list[str]) -> np.ndarray:
    tokens = open_clip.tokenize(prompts, context_length=model.context_length)
    with torch.no_grad():
        return np.asarray(model.encode_text(tokens, normalize=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported tower of the design "custom"."""
    return export(build("custom"), tmp_path_factory.mktemp("towers") / "custom")


def export(model: Any, folder: Path, **options: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter warns of itself
        return export_text_tower(model, folder, "toy", **options)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("shared", [1, 2, 4])
def test_embeddings_are_those_of_open_clip(design: str, shared: int) -> None:
    model = build(design)
    tower = TextTower(model).eval()
    prompts = ["a photo of a car", "a photo of a very small traffic light.", "a photo of a 車" + " so" * 99]
    full = expected(model, prompts)
    assert 1 - (full @ full.T)[0, 1] > 0.01
    for prompt, row in zip(prompts, full, strict=True):
        tokens = open_clip.tokenize([prompt], context_length=model.context_length)
        length = model.context_length if design == "two-way" else int((tokens != 0).sum())
        with torch.no_grad():
            mine = tower(tokens[0, :shared], tokens[:, shared:length])
        np.testing.assert_allclose(mine[0].numpy(), row, atol=1e-5)


def test_the_exported_tower_gives_the_same_whatever_stands_beside_a_prompt(folder: Path) -> None:
    full = expected(build("custom"), PROMPTS)
    encoder = open_text_encoder(folder, "fp32")
    assert isinstance(encoder, ClipTextEncoder)
    np.testing.assert_allclose(encoder.encode(PROMPTS), full, atol=1e-5)
    np.testing.assert_allclose(encoder.encode([*PROMPTS[::-1], *PROMPTS]), [*full[::-1], *full], atol=1e-5)
    for i in (0, 50, len(PROMPTS) - 3):
        np.testing.assert_allclose(encoder.encode([PROMPTS[i]])[0], full[i], atol=1e-5)
    assert encoder.encode([]).shape == (0, 48)


def test_a_tower_that_looks_both_ways_sees_its_padding(tmp_path: Path) -> None:
    model = build("two-way")
    encoder = ClipTextEncoder(export(model, tmp_path / "tower", half=False))
    np.testing.assert_allclose(encoder.encode(PROMPTS[::7]), expected(model, PROMPTS[::7]), atol=1e-5)


def test_bfloat16_stays_close(folder: Path) -> None:
    exact, fast = ClipTextEncoder(folder), ClipTextEncoder(folder, precision="bf16")
    assert (exact.variant, fast.variant) == ("", "bf16")
    assert (exact.encode(PROMPTS) * fast.encode(PROMPTS)).sum(axis=1).min() > 0.999
    with pytest.raises(ModelError, match="'int4'; expected one of auto, fp32, bf16"):
        ClipTextEncoder(folder, precision="int4")


def test_the_table_is_a_plain_loop_over_words_and_templates(folder: Path) -> None:
    model = build("custom")
    vocabulary = Vocabulary.parse(["car, automobile", "traffic light"])
    table = text_table(vocabulary, ClipTextEncoder(folder))  # the manifest's prompt set, P14
    for row, word in ((table[0, 0], "car"), (table[0, 1], "automobile"), (table[1, 0], "traffic light")):
        mean = np.mean([expected(model, [template.format(word)])[0] for template in P14], axis=0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-5)
    np.testing.assert_array_equal(table[1, 1], table[1, 0])


def test_words_of_which_cleaning_leaves_nothing_are_unknown(folder: Path) -> None:
    assert ClipTextEncoder(folder).unknown(["car", "&nbsp;", "車", "_"]) == ["&nbsp;"]
    with pytest.raises(VocabularyError, match="&nbsp;"):
        text_table(Vocabulary.parse(["car", "&nbsp;"]), ClipTextEncoder(folder))


def test_a_cached_table_needs_no_tower(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "tower"))
    table = text_table(Vocabulary.parse(["car"]), ClipTextEncoder(copy), tmp_path / "cache")
    (copy / "text.onnx").unlink()
    encoder = ClipTextEncoder(copy)
    np.testing.assert_array_equal(text_table(Vocabulary.parse(["car"]), encoder, tmp_path / "cache"), table)
    with pytest.raises(ModelError, match=r"text\.onnx"):
        text_table(Vocabulary.parse(["bus"]), encoder, tmp_path / "cache")


def test_threads_do_not_mix_their_prompts(folder: Path) -> None:
    full, encoder = expected(build("custom"), PROMPTS), ClipTextEncoder(folder)
    parts = [slice(i, i + 13) for i in range(0, len(PROMPTS), 9)]
    with ThreadPoolExecutor(4) as pool:
        for part, rows in zip(parts, pool.map(lambda part: encoder.encode(PROMPTS[part]), parts), strict=True):
            np.testing.assert_allclose(rows, full[part], atol=1e-5)


@pytest.mark.parametrize("name", ["text.onnx", "tokenizer.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "changed"])
def test_a_damaged_folder_is_a_model_error(folder: Path, tmp_path: Path, name: str, damage: str) -> None:
    path = Path(shutil.copytree(folder, tmp_path / "tower")) / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"{}" + content[2:])
    with pytest.raises(ModelError, match=r"text encoder.*tower"):
        ClipTextEncoder(path.parent).encode(["car"])


@pytest.mark.parametrize("change", [{"prompts": "P5"}, {"width": None}, {"context_length": "long"}, {"files": 5}])
def test_a_manifest_of_another_form_is_refused(folder: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    path = Path(shutil.copytree(folder, tmp_path / "tower")) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match="no usable text encoder"):
        ClipTextEncoder(path.parent)


def test_the_manifest_says_what_the_folder_is(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    encoder = ClipTextEncoder(folder)
    assert (manifest["kind"], manifest["name"], manifest["context_length"], manifest["prompts"]) == (
        "clip",
        "toy",
        32,
        "P14",
    )
    assert (encoder.width, encoder.identity) == (48, manifest["identity"])
    assert encoder.default_templates == PROMPT_SETS["P14"]
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "text.onnx", "tokenizer.json"]
    assert (folder / "text.onnx").stat().st_size < 2.1 * sum(p.numel() for p in build("custom").text.parameters()) + 1e5


def odd(**changes: Any) -> Any:
    options = {"width": 64, "heads": 2, "layers": 1} | changes
    vision = CLIPVisionCfg(layers=1, width=64, patch_size=32, image_size=32)
    return CustomTextCLIP(48, vision, CLIPTextCfg(**options))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"vocab_size": 32000}, "32000 tokens; expected the 49408"),
        ({"embed_cls": True, "context_length": 76}, "class token"),
        ({"pool_type": "last"}, "pools 'last'; expected 'argmax'"),
        ({"qk_norm": True}, "blocks CustomResidualAttentionBlock"),
    ],
)
def test_another_tower_is_refused_and_nothing_is_written(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ModelError, match=complaint):
        export_text_tower(odd(**changes), tmp_path / "tower", "odd")
    with pytest.raises(VocabularyError, match="P14"):
        export_text_tower(odd(), tmp_path / "tower", "odd", prompts="P2")
    assert not list(tmp_path.iterdir())


def test_another_library_s_tower_is_refused() -> None:
    model = odd()
    model.text = torch.nn.Linear(2, 2)
    with pytest.raises(ModelError, match="text tower Linear"):
        TextTower(model)


def test_a_failed_export_leaves_the_old_folder(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Path(shutil.copytree(folder, tmp_path / "tower"))
    monkeypatch.setattr("ovseg_ros.models.clip_text._graph", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        export_text_tower(odd(), old, "odd")
    assert ClipTextEncoder(old).encode(["car"]).any()
    assert list(tmp_path.iterdir()) == [old]
