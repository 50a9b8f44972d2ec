"""The papers' systems: what the table says of each, against the networks, and checkpoints built from end to end.

The checkpoints are the published code's own tensors, of small instances (`golden`), in the form of a published file.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")
pytest.importorskip("onnxscript")
F = torch.nn.functional

from ovseg_ros.cli import main  # noqa: E402
from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.evaluation.networks import open_network  # noqa: E402
from ovseg_ros.evaluation.protocols import NATIVE  # noqa: E402
from ovseg_ros.evaluation.subjects import EngineSource, NetworkSource  # noqa: E402
from ovseg_ros.models import build, system_weights, systems  # noqa: E402
from ovseg_ros.models.catseg_config import AggregatorConfig, CatSegConfig  # noqa: E402
from ovseg_ros.models.catseg_pass import ShortlistPass  # noqa: E402
from ovseg_ros.models.clip_config import ClipResNetConfig, ClipVisionConfig, read_open_clip  # noqa: E402
from ovseg_ros.models.deop import MEAN, STD, DeopConfig  # noqa: E402
from ovseg_ros.models.deop_weights import CLIP  # noqa: E402
from ovseg_ros.models.ebseg import Ebseg, class_map  # noqa: E402
from ovseg_ros.models.ebseg_config import EbsegConfig  # noqa: E402
from ovseg_ros.models.esc_config import EscConfig  # noqa: E402
from ovseg_ros.models.gkc_config import GkcConfig  # noqa: E402
from ovseg_ros.models.maskformer import MaskFormerConfig  # noqa: E402
from ovseg_ros.models.onepass import EncoderAlone, OnePass  # noqa: E402
from ovseg_ros.models.resnet import ResNetConfig  # noqa: E402
from ovseg_ros.models.sam.config import SamDecoderConfig, SamEncoderConfig  # noqa: E402
from ovseg_ros.models.system_weights import open_system, open_text  # noqa: E402
from ovseg_ros.models.systems import SystemSpec, listed_systems  # noqa: E402
from ovseg_ros.models.two_stream import TwoStream  # noqa: E402
from ovseg_ros.prompts import prompt_set  # noqa: E402
from ovseg_ros.text import open_text_encoder, text_table  # noqa: E402
from ovseg_ros.vocabulary import Vocabulary  # noqa: E402
from ovseg_ros.weights import open_weights  # noqa: E402

GOLDEN = Path(__file__).parents[2] / ".." / "shared" / "golden"
Golden = Callable[..., dict[str, Any]]
Far = Callable[[Any, Any], float]
DENSE_CLIP = ClipVisionConfig(64, 16, 64, 9, 1, 256, 40, quick_gelu=True)
FUSION = AggregatorConfig(32, 8, 4, 1, pooling=2, padded=8, tap_guidance=(8, 8), decoder_widths=(32, 16))
CONFIGS: dict[str, Any] = {  # as the tensors were made
    "deop": DeopConfig(
        MaskFormerConfig(ResNetConfig((3, 4, 6, 3), 8, 4, 8), 32, 32, 100, 2, 8, 48, 0.1, 24, 16),
        ClipVisionConfig(64, 16, 128, 4, 2, 512, 64, quick_gelu=True),
        (6, (1, 2)),
        anchor_hidden=96,
    ),
    "ebseg": EbsegConfig(
        clip=ClipVisionConfig(64, 16, 48, 12, 12, 192, 40, quick_gelu=True),
        sam=SamEncoderConfig(64, 16, 24, 8, 4, 96, window=3, global_blocks=(1, 3, 5, 7), neck=0),
        sam_taps=(2, 4, 6, 8),
        width=32,
        queries=10,
        pixel_layers=2,
        pixel_mlp=48,
        layers=3,
        mlp=64,
    ),
    "cat-seg": CatSegConfig(DENSE_CLIP, FUSION, budget=8),
    "esc-net": EscConfig(DENSE_CLIP, replace(FUSION, layers=2), SamDecoderConfig(32, 8, 4, 32), budget=8),
    "gkc": GkcConfig(
        ClipResNetConfig(64, (1, 1, 1, 1), 8, 4, 40), teacher=None, width=64, heads=4, queries=6, layers=2
    ),
}
CONFIGS["two-stream"] = replace(CONFIGS["deop"], masks=replace(CONFIGS["deop"].masks, text_width=64))
ARCHITECTURES = {"Tiny-Text-64": (64, 2), "Tiny-Text-40": (40, 3)}  # text width, blocks
SPECS = {
    spec.system: replace(
        spec,
        name=f"{spec.system}-tiny",
        architecture=f"Tiny-Text-{CONFIGS[spec.system].clip.embed_dim}",
        size=(64, 96),
    )
    for spec in listed_systems()
    if spec.config in ("base", "rn50")
}
LEAST = DeopConfig(  # for an export that takes seconds
    MaskFormerConfig(ResNetConfig((1, 1, 1, 1), 8, 4, 8, (), "batch"), 64, 16, 6, 2, 4, 32, 0.1, 16, 64),
    ClipVisionConfig(64, 16, 48, 2, 4, 96, 64, quick_gelu=True),
    (4, (1,)),
    anchor_heads=4,
    anchor_hidden=32,
)
LEAST_SPEC = replace(SPECS["deop"], name="deop-least", config="least")
PUBLISHED = system_weights.SYSTEMS  # before any test puts small ones in their place
VISION = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1}


# what the table says


@pytest.mark.parametrize("spec", listed_systems(), ids=lambda spec: spec.name)
def test_a_listed_system_is_its_network(spec: SystemSpec) -> None:
    system = PUBLISHED[spec.system]
    with torch.device("meta"):
        net: Any = system.make(system.configs[spec.config]())
    assert spec.multiple == net.multiple
    assert spec.refuse_size() is None
    assert hasattr(net, "shortlist") == spec.budget
    assert getattr(net, "window", None) == (spec.size[0] if spec.budget else None)
    assert (getattr(net, "seen", None) is not None) == bool(spec.seen)
    text = read_open_clip(spec.architecture)
    clip = net.clip.config if isinstance(net, TwoStream) else net.config.clip
    assert text["embed_dim"] == clip.embed_dim
    assert text["quick_gelu"]  # all stand on OpenAI's CLIP
    if isinstance(clip, ClipResNetConfig):
        assert clip == ClipResNetConfig.from_open_clip(spec.architecture)
    assert prompt_set(spec.prompts)


# small checkpoints of each


def text_state(architecture: str) -> dict[str, Any]:
    """A random text tower under open_clip's names that hears the words: any other gives all of them one vector."""
    torch.manual_seed(3)
    width, layers = ARCHITECTURES[architecture]
    model = open_clip.model.CLIP(width, VISION, {**TEXT, "layers": layers}, quick_gelu=True)
    torch.nn.init.normal_(model.token_embedding.weight, std=0.5)
    with torch.no_grad():
        model.token_embedding.weight[49407] = 0
        model.positional_embedding.zero_()
    return {key: x.detach() for key, x in model.state_dict().items() if not key.startswith("visual.")}


def deop_state(golden: Golden) -> dict[str, Any]:
    """The published tensors, and a table of tokens in which theirs have their places."""
    data = golden("deop_e2e")
    state, table = data["w"], text_state("Tiny-Text-64")["token_embedding.weight"]
    learner = "clip_adapter.prompt_learner."
    for signal, token in (("start", 49406), ("dot", 269), ("end", 49407), ("pad", 0)):
        table[token] = state[f"{learner}{signal}_signal"]
    for i, ids in enumerate(data["in/name_token_ids"].long()):
        own = data[f"in/noun_embedding_{i}"]
        table[ids[1 : 1 + len(own)]] = own
    return {**state, f"{CLIP}token_embedding.weight": table}


def two_stream_state(deop: dict[str, Any]) -> dict[str, Any]:
    """The same; the mask net's own naming of things, which the small instance does in a space of its own, in CLIP's."""
    torch.manual_seed(5)
    last = "sem_seg_head.predictor.class_embed.layers.1."
    return {**deop, f"{last}weight": torch.randn(64, 24), f"{last}bias": torch.randn(64)}


def catseg_state(golden: Golden) -> dict[str, Any]:
    """The published tensors with a text tower, its projections apart as in a published file."""
    state = dict(golden("catseg_full_inference")["w"])
    for key, x in text_state("Tiny-Text-40").items():
        stem = f"sem_seg_head.predictor.clip_model.{key}"
        if key.endswith("in_proj_weight"):
            for letter, part in zip("qkv", x.chunk(3), strict=True):
                state[stem.replace("in_proj_weight", f"{letter}_proj_weight")] = part
        else:
            state[stem] = x
    return state


def gkc_state() -> dict[str, Any]:
    """A random network under the released names, translated here by hand."""
    torch.manual_seed(4)
    net = system_weights.Gkc(CONFIGS["gkc"])
    state = {f"text_encoder.{key}": x for key, x in text_state("Tiny-Text-40").items()}
    for key, x in net.state_dict().items():
        head, _, rest = key.partition(".")
        number, _, tail = rest.partition(".")
        named = {
            "pixel_decoder": f"sem_seg_head.pixel_decoder.{rest}",
            "decoder": f"sem_seg_head.predictor.{rest}",
            "embed_proj": f"embed_proj.1.{rest}",
            "aux_embed_proj": f"aux_embed_porj_{number}.1.{tail}",
            "no_object": "non_object_embedding",
        }
        state[named.get(head, key)] = x
    return {**state, "kd_proj.weight": torch.zeros(3, 64), "empty_weight": torch.zeros(1)}


def states(golden: Golden) -> dict[str, dict[str, Any]]:
    ebseg = dict(golden("ebseg_e2e")["w"])
    tower = {f"ov_classifier.{key}": x for key, x in text_state("Tiny-Text-40").items()}
    catseg, deop = catseg_state(golden), deop_state(golden)
    return {
        "deop": deop,
        "two-stream": two_stream_state(deop),
        "ebseg": {**tower, **ebseg},  # its own scale of logits
        "cat-seg": catseg,
        "esc-net": catseg,
        "gkc": gkc_state(),
    }


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The zoo with small systems in place of the papers', and folders of its own."""
    folder = tmp_path_factory.mktemp("systems")
    for name, (width, layers) in ARCHITECTURES.items():
        content = {
            "embed_dim": width,
            "quick_gelu": True,
            "vision_cfg": VISION,
            "text_cfg": {**TEXT, "layers": layers},
        }
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    open_clip.add_model_config(folder)
    small = {
        name: replace(system, configs={"base": lambda name=name: CONFIGS[name], "rn50": lambda: CONFIGS["gkc"]})
        for name, system in system_weights.SYSTEMS.items()
    }
    small["deop"] = replace(small["deop"], configs={**small["deop"].configs, "least": lambda: LEAST})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVSEG_ENGINES", str(folder / "engines"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setattr(systems, "SYSTEM_SPECS", (*SPECS.values(), LEAST_SPEC))
        patch.setattr(system_weights, "SYSTEMS", small)
        yield folder


@pytest.fixture(scope="module")
def files(tables: Path, golden: Golden) -> dict[str, str]:
    """A checkpoint file of each system, as detectron2 writes it."""
    found = {}
    for system, state in states(golden).items():
        found[system] = str(tables / f"{system}.pth")
        torch.save({"model": state, "iteration": 9}, found[system])
    return found


def golden_image(name: str) -> Any:
    """(1, 3, H, W) float, 0..255; the fixture `golden` reads no bytes."""
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return torch.from_numpy(arrays["in/image_uint8"])[None].float()


@torch.no_grad()
def test_deops_words_and_class_map_are_the_published_codes(files: dict[str, str], golden: Golden, far: Far) -> None:
    data, spec = golden("deop_e2e"), SPECS["deop"]
    opened = open_system(spec, files["deop"])
    assert (opened.note, opened.source.split(":")[0]) == ("", "deop.pth sha256")
    words = open_text(spec, opened.files)(torch.tensor([49406]), data["in/name_token_ids"].long()[:, 1:7])
    assert far(words, data["mid/text_features_with_non_object"][:-1]) < 1e-5
    mean, std = (255 * torch.tensor(x).reshape(3, 1, 1) for x in (MEAN, STD))
    net: Any = opened.net
    maps = net.class_map((golden_image("deop_e2e") - mean) / std, words[:, None], tuple(data["in/out_hw"].tolist()))
    assert far(maps[0], data["out/sem_seg"]) < 1e-4


@torch.no_grad()
def test_the_two_stream_baseline_is_of_deops_parts(files: dict[str, str], golden: Golden, far: Far) -> None:
    two: Any = open_system(SPECS["two-stream"], files["two-stream"]).net
    deop: Any = open_system(SPECS["deop"], files["deop"]).net
    image = golden_image("deop_e2e")
    mean, std = (255 * torch.tensor(x).reshape(3, 1, 1) for x in (MEAN, STD))
    pixels = ((image - mean) / std)[..., : image.shape[2] // 32 * 32, : image.shape[3] // 32 * 32]
    found, masks = two.features(pixels, torch.zeros(1, 1, 64)), deop.proposer.propose(pixels)
    assert far(found.masks, masks) < 1e-6

    model = open_clip.model.CLIP(64, {**VISION, "image_size": 64, "layers": 4, "width": 128}, TEXT, quick_gelu=True)
    state = golden("deop_e2e")["w"]
    visual = {k.removeprefix(CLIP): x for k, x in state.items() if k.startswith(f"{CLIP}visual.")}
    known = {key: x for key, x in visual.items() if key in model.state_dict()}
    assert {key for key in model.state_dict() if key.startswith("visual.")} == set(known)
    model.load_state_dict(known, strict=False)
    crops, shown = two.crops(pixels * two.pixel_scale + two.pixel_shift, masks)
    expected = model.eval().encode_image(crops, normalize=True) * shown[:, None]
    assert far(found.embeddings[0, :, :64], expected) < 1e-5
    assert shown.any()


@torch.no_grad()
def test_ebsegs_and_catsegs_class_maps_are_the_published_codes(files: dict[str, str], golden: Golden, far: Far) -> None:
    data, net = golden("ebseg_e2e"), open_system(SPECS["ebseg"], files["ebseg"]).net
    out = tuple(data["in/out_hw"].tolist())
    text = data["in/text_embeddings"][:, None]
    maps = class_map(cast(Ebseg, net), golden_image("ebseg_e2e"), text, cast("tuple[int, int]", out), data["in/seen"])
    assert far(maps[0], data["out/sem_seg"]) < 1e-5
    data, catseg = golden("catseg_full_inference"), open_system(SPECS["cat-seg"], files["cat-seg"]).net
    maps = catseg.class_map(  # type: ignore[operator]
        golden_image("catseg_full_inference"), data["in/text_features_T1C"], 384, (100, 130)
    )
    assert far(maps[0], data["out/single_prob"]) < 1e-5


def test_a_gkc_of_the_released_code_is_itself(files: dict[str, str]) -> None:
    torch.manual_seed(4)
    expected = system_weights.Gkc(CONFIGS["gkc"])
    found = open_system(SPECS["gkc"], files["gkc"]).net.state_dict()
    assert all(torch.equal(found[key], x) for key, x in expected.state_dict().items())


def test_an_esc_net_starts_from_catseg_and_sam(files: dict[str, str], tables: Path) -> None:
    from ovseg_ros.models.sam.mask_decoder import MaskDecoder
    from ovseg_ros.models.sam.prompt_encoder import PromptEncoder

    sizes = CONFIGS["esc-net"].sam
    parts = {"prompt_encoder": PromptEncoder(sizes, (64, 64), (1024, 1024)), "mask_decoder": MaskDecoder(sizes)}
    sam = {f"{part}.{key}": torch.randn_like(x) for part, m in parts.items() for key, x in m.state_dict().items()}
    torch.save(sam, tables / "sam.pth")
    alone = open_system(SPECS["esc-net"], files["esc-net"])
    both = open_system(SPECS["esc-net"], f"{files['esc-net']}, {tables / 'sam.pth'}")
    assert both.source.count("sha256:") == 2
    fresh = [int(x.note.split(": ")[1].split(" of ")[0]) for x in (alone, both)]
    changed = [key for key, x in both.net.state_dict().items() if not torch.equal(x, alone.net.state_dict()[key])]
    assert fresh[0] - fresh[1] == len(changed) > 0
    for opened in (alone, both):
        assert "a start for training, not a trained model" in opened.note
        assert open_text(SPECS["esc-net"], opened.files)  # CAT-Seg's


# what is exported, the image's graph left out: each system's own tests run theirs


@pytest.fixture
def wholes(monkeypatch: pytest.MonkeyPatch) -> list[OnePass]:
    """The graphs that would be exported."""
    seen: list[OnePass] = []

    def export(whole: OnePass, path: Path, width: int, **_: object) -> None:
        assert whole.net.config.clip.embed_dim == width  # type: ignore[union-attr]
        path.write_bytes(b"graph")
        seen.append(whole)

    monkeypatch.setattr(build, "export_onnx", export)
    return seen


def test_an_ebseg_remembers_its_words(
    files: dict[str, str], tables: Path, wholes: list[OnePass], capsys: pytest.CaptureFixture[str]
) -> None:
    """Its text tower is exported for real: words go through tokenizer, tower and prompts."""
    spec, words = SPECS["ebseg"], ["cat", "human", "person", "wall"]
    folder = tables / "engines" / spec.name / "graph"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of itself
        build.build_system(spec, files["ebseg"], folder, seen=words)
    (whole,) = wholes
    assert (type(whole), whole.size) == (OnePass, (64, 96))
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["weights"].startswith("ebseg.pth sha256:")
    assert (manifest["system"], manifest["config"], manifest["licence"]) == ("ebseg", "base", "MIT (EBSeg)")
    assert (manifest["seen_words"], manifest["note"], manifest["prompts"]) == (words, "", "P14")

    encoder = open_text_encoder(folder / "text", "fp32")
    asked = Vocabulary.parse(["tree", "PERSON", "kitten, cat", "sky", "wall", "dog"])
    table = torch.from_numpy(text_table(asked, encoder))
    network: Any = open_network(spec.name, files["ebseg"])
    for net in (whole.net, network.net):
        assert net.seen(table).tolist() == [0, 1, 1, 0, 1, 0]  # type: ignore[operator]
    assert network.net.features(torch.zeros(1, 3, 96, 64), table).masks.shape == (1, 10, 24, 16)  # any size, unbaked
    model = open_clip.model.CLIP(40, VISION, {**TEXT, "layers": 3}, quick_gelu=True).eval()
    model.load_state_dict(text_state("Tiny-Text-40"), strict=False)
    prompts = [template.replace("{}", "tree") for template in prompt_set("P14")]
    with torch.no_grad():
        tokens = open_clip.get_tokenizer("ViT-B-16")(prompts)
        expected = F.normalize(model.encode_text(tokens, normalize=True).mean(dim=0), dim=-1)
    assert float(expected @ table[0, 0]) > 0.9999

    with pytest.raises(ModelError, match=r"was built from the file ebseg.pth sha256:.*; give it with --weights FILE"):
        open_network(spec.name)
    state = torch.load(files["ebseg"])["model"]
    torch.save({**state, "ov_classifier.bg_embed": state["ov_classifier.bg_embed"] + 1}, tables / "ebseg-2.pth")
    with pytest.raises(ModelError, match=r"was built from ebseg.pth .*, not from ebseg-2.pth"):
        open_network(spec.name, str(tables / "ebseg-2.pth"))
    assert main(["models", "--json"]) == 0
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert (listed["ebseg-tiny"]["state"], listed["ebseg-tiny"]["licence"]) == ("built", "MIT (EBSeg)")
    with pytest.raises(ModelError, match="Gkc does not tell seen words from new ones"):
        build.remember_seen(system_weights.Gkc(CONFIGS["gkc"]), encoder, words)


def test_a_system_is_exported_in_its_own_form(
    files: dict[str, str], wholes: list[OnePass], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(build, "export_text_tower", lambda tower, folder, *_, **__: folder.mkdir())
    monkeypatch.setattr(build, "open_text_encoder", lambda _: SimpleNamespace(width=40, identity="text"))
    for system, kind in (("cat-seg", ShortlistPass), ("esc-net", ShortlistPass), ("gkc", OnePass)):
        build.build_system(SPECS[system], files[system], tmp_path / system)
        assert type(wholes[-1]) is kind
    assert wholes[-1].net.fine  # as published
    build.build_system(SPECS["gkc"], files["gkc"], tmp_path / "alone", encoder_alone=True)
    assert type(wholes[-1]) is EncoderAlone
    manifest = json.loads((tmp_path / "esc-net" / "manifest.json").read_text(encoding="utf-8"))
    assert "tensors are random" in manifest["note"]
    assert manifest["seen_words"] == []


# one small system, from the command line to the engine and back to the network


@pytest.fixture(scope="module")
def least(tables: Path) -> str:
    """Its name; built once."""
    assert main(["build", "deop-least", "--weights", "random", "--name", "mine", "--precision", "fp32"]) == 0
    return "mine"


def test_a_built_system_is_its_network(least: str, picture: Callable[..., np.ndarray]) -> None:
    weights = open_weights(least)
    assert (weights.source, weights.size, weights.licence) == ("random", (64, 96), "Apache-2.0 (random numbers)")
    found = []
    for source in (EngineSource(least, precision="fp32"), NetworkSource(least, NATIVE)):
        subject = source.open()
        words = subject.set_vocabulary(Vocabulary.parse(["sky", "road, street", "cat", "person", "wall", "car"]))
        assert words.templates == ("{}",)
        found.append(subject.segment(picture(1, 90, 120)))
    assert (found[0].labels == found[1].labels).mean() > 0.99
    assert (np.abs(found[0].confidence.astype(int) - found[1].confidence) <= 3).mean() > 0.98
    net: Any = open_network(least).net
    assert net.features(torch.zeros(1, 3, 96, 64), torch.zeros(1, 1, 64)).masks.shape[2:] == (24, 16)
    expected = open_text(LEAST_SPEC, ())  # the same random numbers
    ids = open_clip.get_tokenizer("ViT-B-16")(["traffic light"])[:, 1:5]
    with torch.no_grad():
        row = expected(torch.tensor([49406]), ids)[0]
    encoder = open_text_encoder(weights.text_folder, "fp32")
    assert float(row @ torch.from_numpy(encoder.encode(["traffic light"])[0])) > 0.9999


def test_commands_and_node_run_a_built_system(
    least: str, picture: Callable[..., np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["bench", least, "--image", "60x80", "--classes", "3", "20", "--repeats", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["results"]
    assert [(row["model"], row["classes"]) for row in rows] == [(least, 3), (least, 20)]
    assert all(row["gflop"] > 0 and row["p50_ms"] > 0 for row in rows)

    rgb = picture(5, 60, 80)
    cv2.imwrite(str(tmp_path / "frame.png"), rgb[..., ::-1])
    words = ["cat, kitten", "person", "wall"]
    arguments = ["segment", str(tmp_path / "frame.png"), "--model", least, "--classes", ";".join(words)]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    mask = cv2.imread(str(next((tmp_path / "out").rglob("*_mask.png"))), cv2.IMREAD_UNCHANGED)
    loading = pytest.importorskip("ovseg_ros.ros.loading")
    parameters = pytest.importorskip("ovseg_ros.ros.parameters")
    node = loading.load_segmenter(parameters.Settings(model=least, vocabulary=tuple(words)))
    np.testing.assert_array_equal(node.segment(rgb).labels, mask)


def test_what_is_there_is_not_exported_anew(least: str, tables: Path) -> None:
    graph = tables / "engines" / least / "graph" / "model.onnx"
    first = graph.stat().st_mtime_ns
    assert main(["build", "deop-least", "--weights", "random", "--name", least, "--precision", "fp32"]) == 0
    assert graph.stat().st_mtime_ns == first


# what is refused


def refusal(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["build", *arguments]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("ovseg build: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("ebseg-tiny",), "ebseg-tiny needs its checkpoint (EBSeg_base.pth of huggingface.co/slonetime/EBSeg)"),
        (("ebseg-tiny", "--weights", "openai"), "ebseg-tiny has no weights by the name 'openai'"),
        (("ebseg-tiny", "--weights", "gone.pth"), "there is no file"),
        (("ebseg-tiny", "--weights", "random", "--windows", "64,32"), "leave --windows away"),
        (("ebseg-tiny", "--weights", "random", "--size", "65x96"), "65x96 is no multiple of 32"),
        (("ebseg-tiny", "--weights", "random", "--seen", "stuff"), "the training 'stuff' is unknown"),
        (("gkc-tiny", "--weights", "random", "--seen", "stuff171"), "gkc-tiny treats all words alike"),
        (("cat-seg-tiny", "--weights", "random", "--encoder-alone", "--name", "x"), "no encoder alone"),
        (("naclip-vit-b-16", "--text", "openai"), "--text goes with systems"),
        (("naclip-vit-b-16", "--seen", "none"), "--seen goes with systems"),
        (("mini", "--seen", "none"), "leave --seen away"),
        (("mini", "--text", "openai"), "leave --text away"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_sentence(
    arguments: tuple[str, ...], problem: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert problem in refusal(capfd, *arguments)


def test_a_wrong_checkpoint_is_told_from_a_right_one(
    tables: Path, golden: Golden, capfd: pytest.CaptureFixture[str]
) -> None:
    known = states(golden)
    right, other = tables / "right.pth", tables / "other.pth"

    def save(state: dict[str, Any]) -> str:
        torch.save(state, right)
        return str(right)

    torch.save(known["cat-seg"], other)
    assert "right.pth holds no EBSeg" in refusal(capfd, "ebseg-tiny", "--weights", save(known["gkc"]))
    assert "right.pth holds no CAT-Seg" in refusal(capfd, "cat-seg-tiny", "--weights", save(known["ebseg"]))
    assert "right.pth is no GKC" in refusal(capfd, "gkc-tiny", "--weights", save(known["ebseg"]))
    assert "right.pth" in refusal(capfd, "deop-tiny", "--weights", save(known["ebseg"]))
    assert "right.pth has not this model's masks and CLIP" in refusal(
        capfd, "two-stream-tiny", "--weights", save(known["deop"])
    )
    lacking = {key: x for key, x in known["ebseg"].items() if not key.startswith("sem_seg_head.predictor.query")}
    assert "2 tensors do not match: it lacks decoder.query_feat" in refusal(
        capfd, "ebseg-tiny", "--weights", save(lacking)
    )
    two = f"{save(known['ebseg'])},{other}"
    assert "one checkpoint holds the whole system; got 2" in refusal(capfd, "ebseg-tiny", "--weights", two)
    two = f"{save(known['cat-seg'])},{other}"
    assert "got 2 and 0: right.pth, other.pth" in refusal(capfd, "esc-net-tiny", "--weights", two)
    right.write_bytes(b"no checkpoint")
    assert "cannot read" in refusal(capfd, "ebseg-tiny", "--weights", str(right))


def test_text_towers_that_lack_or_differ_are_told(
    tables: Path, golden: Golden, capfd: pytest.CaptureFixture[str]
) -> None:
    known, path = states(golden), tables / "text.pth"

    def problem(system: str, state: dict[str, Any], *options: str) -> str:
        torch.save(state, path)
        return refusal(capfd, f"{system}-tiny", "--weights", str(path), *options)

    assert "text.pth has the text tower that it was trained with; leave --text away" in problem(
        "ebseg", known["ebseg"], "--text", "random"
    )
    bare = golden("ebseg_e2e")["w"]
    assert "text.pth has no text tower; name CLIP's with --text openai or --text FILE" in problem("ebseg", bare)
    assert "open_clip has no weights 'openai' for Tiny-Text-40" in problem("ebseg", bare, "--text", "openai")
    wrong = {**known["ebseg"], "ov_classifier.text_projection": torch.zeros(64, 41)}
    assert "text_projection is (64, 41) in it and (64, 40) in the model" in problem("ebseg", wrong)
    deop = dict(known["deop"])
    deop["clip_adapter.prompt_learner.dot_signal"] = torch.ones(1, 64)
    assert "dot_signal that is not token 269" in problem("deop", deop)
    del deop["clip_adapter.prompt_learner.prefix_prompt"]
    assert "no learned prompt" in problem("deop", deop)
