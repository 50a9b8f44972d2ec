"""Shared by all tests: private folders for engines and caches, and small models made once."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # on busy cores, threads cost small networks more than they give

# Mesa (the simulator) and triton (torch) bring an LLVM each, and crash unless triton is imported first.
with contextlib.suppress(ImportError):
    import lightning_fabric  # noqa: F401

try:
    from hypothesis import HealthCheck, settings
except ImportError:  # tests that need it are skipped
    pass
else:
    # the same examples every time, however slow the machine
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    settings.register_profile("ovseg", max_examples=50, deadline=None, derandomize=True, suppress_health_check=slow)
    settings.load_profile("ovseg")

# A shell's background job has Ctrl-C ignored, and processes that tests start would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if TYPE_CHECKING:  # tests of the node also run where only ROS 2 is
    from ovseg_ros.engine.cache import Graph
    from ovseg_ros.text import StaticTextEncoder

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
WORDS = [
    "red", "green", "blue", "yellow", "grey", "white", "black", "brown", "sky", "road", "car", "tree", "person",
    "building", "fence", "sign", "pole", "table", "chair", "lamp", "mug", "box", "shelf", "floor", "wall", "door",
    "window", "plant", "bottle", "bowl", "plate", "spoon", "fork", "knife", "phone", "book", "clock", "picture", "sofa",
    "pillow", "pavement", "pedestrian", "bicyclist", "symbol",
]  # fmt: skip
STRANGERS = [f"stranger{a}{b}" for a in "abcdefgh" for b in "abcdefgh"]  # letters alone in `strangers`
TINY_SIZE = (64, 96)
TINY_WIDTH = 16


@pytest.fixture(scope="session", autouse=True)
def _private_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Engines and text tables go to a folder of this run, in processes that tests start as well."""
    root = tmp_path_factory.mktemp("private")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVSEG_ENGINES", str(root / "engines"))
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        yield


@pytest.fixture(scope="session")
def camvid_root() -> Path:
    """The real CamVid, where it is there."""
    root = DATA / "camvid"
    if not (root / "val").is_dir():
        pytest.skip(f"CamVid is not in {root}")
    return root


@pytest.fixture(scope="session")
def shipped_encoder() -> StaticTextEncoder:
    """The text encoder that ships in `weights/text`."""
    from ovseg_ros.resources import find
    from ovseg_ros.text import StaticTextEncoder

    return StaticTextEncoder(find("weights/text"))


@pytest.fixture(scope="session")
def tiny_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text encoder's folder: one random vector of 16 numbers a word, words parted by spaces."""
    return make_text_encoder(tmp_path_factory.mktemp("models") / "text")


def make_text_encoder(folder: Path, seed: int = 0) -> Path:
    """Write a text encoder that knows WORDS and STRANGERS."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    from ovseg_ros.training.text import write_encoder

    folder.mkdir(parents=True)
    names = ["[UNK]", *WORDS, *STRANGERS]
    tokenizer = Tokenizer(WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    write_encoder(folder, np.random.default_rng(seed).normal(size=(len(names), TINY_WIDTH)).astype(np.float32))
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tiny_text: Path) -> StaticTextEncoder:
    """The encoder of `tiny_text`."""
    from ovseg_ros.text import StaticTextEncoder

    return StaticTextEncoder(tiny_text)


def draw_picture(seed: int, height: int = 120, width: int = 160) -> np.ndarray:
    """A picture with what photographs have: flat and shaded regions, edges, texture, blur and noise."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, height)[:, None, None]
    image = (1 - ramp) * rng.uniform(120, 255, 3) + ramp * rng.uniform(20, 140, 3) + np.zeros((height, width, 1))
    for _ in range(12):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        size = (int(rng.integers(4, width // 3)), int(rng.integers(4, height // 2)))
        colour = rng.uniform(0, 255, 3)
        if rng.random() < 0.5:
            cv2.rectangle(image, (x, y), (x + size[0], y + size[1]), colour.tolist(), cv2.FILLED)
        else:
            cv2.ellipse(image, (x, y), size, float(rng.uniform(0, 90)), 0, 360, colour.tolist(), cv2.FILLED)
    image = cv2.GaussianBlur(image, (0, 0), 1.0)
    image = image + rng.normal(0, 4, image.shape)
    return image.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    """`draw_picture`: (H, W, 3) uint8 by seed."""
    return draw_picture


@pytest.fixture(scope="session")
def tiny_net() -> Any:
    """A PixelText of some thousand weights whose random labels differ from place to place."""
    torch = pytest.importorskip("torch")
    from ovseg_ros.models.pixeltext import PixelText, PixelTextConfig

    torch.manual_seed(0)
    net = PixelText(PixelTextConfig(widths=(8, 8, 16, 16), depths=(1, 1, 1), features=16, text_width=TINY_WIDTH))
    pictures = np.stack([draw_picture(seed, *TINY_SIZE) for seed in range(8)]).transpose(0, 3, 1, 2)
    x = torch.from_numpy(pictures.astype(np.float32)) * (2 / 255) - 1
    with torch.no_grad():
        for _ in range(30):  # batch norm learns its statistics
            net.train()(x)
        mean = net.eval()(x).mean(dim=(0, 2, 3))
        weight = net.to_text.weight
        # what all pixels have in common would decide every label
        weight -= torch.outer(weight @ mean, mean) / mean.dot(mean)
    return net.requires_grad_(False)


@pytest.fixture(scope="session")
def tiny_model(tiny_net: Any, tiny_text: Path) -> Path:
    """A checkpoint's folder in the form of `weights/`, exported from `tiny_net`."""
    from ovseg_ros.hashing import file_hash
    from ovseg_ros.models.export import export_onnx
    from ovseg_ros.models.onepass import OnePass
    from ovseg_ros.text import StaticTextEncoder

    folder = tiny_text.parent / "tiny"
    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter warns of itself
        export_onnx(OnePass(tiny_net, TINY_SIZE), folder / "model.onnx", TINY_WIDTH)
    manifest = {
        "name": "tiny",
        "text_encoder": "../text",
        "text_identity": StaticTextEncoder(tiny_text).identity,
        "weights_hash": file_hash(folder / "model.onnx"),
        "size": list(TINY_SIZE),
        "classes": ["sky", "road", "car", "tree"],
        "licence": "Apache-2.0",
        "scores": {"toy": 0.5},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


@pytest.fixture
def tiny_copy(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of `tiny_model` with its text encoder, to damage."""
    shutil.copytree(tiny_model.parent / "text", tmp_path / "models" / "text")
    return Path(shutil.copytree(tiny_model, tmp_path / "models" / "tiny"))


@pytest.fixture(scope="session")
def tiny_graph(tiny_model: Path, tiny_encoder: StaticTextEncoder) -> Graph:
    """What engines of `tiny_model` are built from."""
    from ovseg_ros.engine.cache import Graph
    from ovseg_ros.hashing import file_hash

    path = tiny_model / "model.onnx"
    return Graph("tiny", path, file_hash(path), tiny_encoder.identity, TINY_WIDTH, TINY_SIZE, "Apache-2.0")


@pytest.fixture
def camvid_like(tmp_path: Path) -> Path:
    """Four pictures in CamVid's layout, two a split, every class in every picture, a border without truth."""
    for split in ("train", "val"):
        for number in range(2):
            image = draw_picture(number, 48, 64)
            labels = np.arange(48 * 64).reshape(48, 64) // 16 % 11
            labels[:2] = 11
            for folder, content in ((split, image), (f"{split}annot", labels.astype(np.uint8))):
                (tmp_path / "camvid" / folder).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(tmp_path / "camvid" / folder / f"{number}.png"), content)
    return tmp_path / "camvid"


@pytest.fixture(scope="session")
def other_text() -> Callable[[Path], Path]:
    """Writes a text encoder with other vectors into a folder."""
    return lambda folder: make_text_encoder(folder, seed=1)


@pytest.fixture(scope="session")
def reference_run() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Runs an ONNX file by ONNX's own evaluator, with torch for convolutions and resizing: labels, confidence."""
    torch = pytest.importorskip("torch")
    reference = pytest.importorskip("onnx.reference")
    op_run = pytest.importorskip("onnx.reference.op_run")

    def tensor(array: np.ndarray | None) -> Any:
        return None if array is None else torch.from_numpy(np.array(array))

    class Conv(op_run.OpRun):  # type: ignore[misc, name-defined]
        op_domain = ""

        def _run(self, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, **options: Any) -> tuple[np.ndarray]:
            assert options["group"] == 1
            assert options["pads"][:2] == options["pads"][2:]
            out = torch.nn.functional.conv2d(
                *map(tensor, (x, w, b)), options["strides"], options["pads"][:2], options["dilations"]
            )
            return (out.numpy(),)

    class Resize(op_run.OpRun):  # type: ignore[misc, name-defined]
        op_domain = ""

        def _run(
            self, x: np.ndarray, roi: Any = None, scales: Any = None, sizes: Any = None, **options: Any
        ) -> tuple[np.ndarray]:
            assert (options["mode"], options["coordinate_transformation_mode"]) == ("linear", "half_pixel")
            size = [round(n * s) for n, s in zip(x.shape, scales, strict=True)] if sizes is None else sizes.tolist()
            return (torch.nn.functional.interpolate(tensor(x), size=size[2:], mode="bilinear").numpy(),)

    def run(path: Path, rgb: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        session = reference.ReferenceEvaluator(str(path), new_ops=[Conv, Resize])
        labels, confidence = session.run(None, {"image": rgb[None], "text": table})
        return labels[0], confidence[0]

    return run
