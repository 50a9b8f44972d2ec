"""The losses of EBSeg, DeOP and GKC, against what the published code gave on the same inputs and random draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")
F = torch.nn.functional

from ovseg_ros.training.losses.criterion import MaskLosses, criterion, total  # noqa: E402
from ovseg_ros.training.losses.ebseg import ebseg_terms  # noqa: E402
from ovseg_ros.training.losses.gkc import GkcLosses, GkcState, GkcTeaching, GkcWords, gkc_terms  # noqa: E402
from ovseg_ros.training.losses.per_pixel import deop_terms  # noqa: E402
from ovseg_ros.training.losses.structure import structure_consistency  # noqa: E402
from ovseg_ros.training.matching import MaskState, MatchCost, Segments, cost_matrix  # noqa: E402

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
COST = MatchCost(2.0, 5.0, 5.0, points=64)
GKC = ["thresRand", "thresRand_textkd_dropout", "clusterMax", "clusterAvg"]


def read(name: str) -> dict[str, Any]:
    """A golden file as tensors by key."""
    path = GOLDEN / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"the published code's outputs are not here ({path.name} in ../shared/golden)")
    with np.load(path) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files if arrays[key].dtype.kind in "fiub"}


def replay(data: dict[str, Any]) -> Callable[[Sequence[int]], Any]:
    """A `Draw` that gives the published code's random numbers back, in its order, and checks their shapes."""
    recorded = [data[key] for key in sorted(data) if key.startswith(("rand/draw", "rand/torch"))]
    recorded += [data[key] for key in sorted(data) if key.startswith("rand/np")]
    left = iter(recorded)

    def draw(shape: Sequence[int]) -> Any:
        numbers = next(left)
        assert tuple(shape) == tuple(numbers.shape)
        return numbers

    return draw


def close(found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Equal to a share of the expected array's largest value."""
    assert found.shape == expected.shape
    assert float((found - expected).detach().abs().max()) <= tolerance * float(expected.abs().max())


@pytest.fixture
def ebseg() -> dict[str, Any]:
    return read("ebseg_criterion_ssc")


def ebseg_states(data: dict[str, Any]) -> list[MaskState]:
    return [
        MaskState(data[f"in/{p}mask_logits"], (data[f"in/{p}logits_A"], data[f"in/{p}logits_B"])) for p in ("aux0_", "")
    ]


def ebseg_truth(data: dict[str, Any]) -> list[Segments]:
    return [Segments(data[f"in/gt_masks_{i}"], data[f"in/gt_labels_{i}"]) for i in range(2)]


def test_the_costs_of_matching_are_the_published_ones(ebseg: dict[str, Any]) -> None:
    truth = ebseg_truth(ebseg)
    last_first = [(state, image) for state in (1, 0) for image in (0, 1)]
    draws = ["rand/draw_00", "rand/draw_01", "rand/draw_04", "rand/draw_05"]
    for number, ((state, image), key) in enumerate(zip(last_first, draws, strict=True)):
        points = ebseg[key]
        found = cost_matrix(ebseg_states(ebseg)[state], image, truth[image], COST, lambda _, points=points: points)
        close(found, ebseg[f"mid/cost_matrix_{number}"])


def test_ebsegs_criterion_is_the_published_one(ebseg: dict[str, Any]) -> None:
    losses = MaskLosses(classes=(1.0, 1.0), mask=1.0, dice=1.0, cost=COST, points=48)
    terms, pairs = criterion(ebseg_states(ebseg), ebseg_truth(ebseg), losses, replay(ebseg))
    names = {"class": "loss_ce", "class_1": "1_loss_ce", "mask": "loss_mask", "dice": "loss_dice"}
    for ours, theirs in names.items():
        close(terms[ours], ebseg[f"out/{theirs}"])
        close(terms[ours + "/0"], ebseg[f"out/{theirs}_0"])
    assert set(terms) == {name + suffix for name in names for suffix in ("", "/0")}
    for state in range(2):
        for image in range(2):
            assert torch.equal(torch.stack(pairs[state][image]), ebseg[f"out/indices_state{state}_img{image}"])


def test_the_gradients_of_ebsegs_criterion_are_the_published_ones(ebseg: dict[str, Any]) -> None:
    inputs = [ebseg[f"in/{key}"].requires_grad_() for key in ("logits_A", "logits_B", "mask_logits")]
    losses = MaskLosses(classes=(1.5, 1.5), cost=COST, points=48)
    terms, _ = criterion(ebseg_states(ebseg), ebseg_truth(ebseg), losses, replay(ebseg))
    last = sum(loss for name, loss in terms.items() if "/" not in name)
    close(last, ebseg["out/weighted_total_last_state"])
    last.backward()
    for tensor, key in zip(inputs, ("logits_A", "logits_B", "mask_logits"), strict=True):
        close(tensor.grad, ebseg[f"out/grad_{key}"])


def test_ssc_is_the_published_one(ebseg: dict[str, Any]) -> None:
    text = ebseg["ssc/in_text_norm"]
    close(text @ text.T, ebseg["ssc/in_text_gram"])
    pairs = [tuple(ebseg[f"out/indices_state1_img{i}"]) for i in range(2)]
    embeddings = ebseg["ssc/in_A_last"].requires_grad_()
    loss = structure_consistency(embeddings, pairs, [own.labels for own in ebseg_truth(ebseg)], text)
    close(loss, ebseg["ssc/out_loss_unweighted"])
    loss.backward()
    close(embeddings.grad, ebseg["ssc/out_grad_A"])


def test_ebsegs_loss_is_its_parts_at_the_papers_weights(ebseg: dict[str, Any]) -> None:
    losses = MaskLosses(classes=(1.5, 1.5), cost=COST, points=48)
    terms = ebseg_terms(
        ebseg_states(ebseg), ebseg["ssc/in_A_last"], ebseg_truth(ebseg), ebseg["ssc/in_text_norm"], losses,
        draw=replay(ebseg),
    )  # fmt: skip
    close(terms["ssc"], 10 * ebseg["ssc/out_loss_unweighted"])
    expected = ebseg["out/weighted_total_last_state"] + 10 * ebseg["ssc/out_loss_unweighted"]
    for weight, name in ((1.5, "loss_ce"), (1.5, "1_loss_ce"), (5, "loss_mask"), (5, "loss_dice")):
        expected = expected + weight * ebseg[f"out/{name}_0"]
    close(total(terms)[0], expected)


def test_deops_third_stage_is_the_published_one() -> None:
    data = read("deop_stage3_loss")
    logits, masks = data["in/pred_logits"].requires_grad_(), data["in/mask_logits"].requires_grad_()
    terms = deop_terms(logits, masks, data["in/sem_seg"], ignore=255)
    close(terms["focal"], 2.0 * data["out/loss_ce"])
    close(terms["dice"], 0.8 * data["out/loss_decoder_dice"])
    loss = total(terms)[0]
    close(loss, data["out/weighted_total"])
    loss.backward()
    close(logits.grad, data["out/grad_logits"])
    close(masks.grad, data["out/grad_masks"])


class Gkc:
    """A golden file of GKC as the arguments of `gkc_terms`, the head's projections applied by hand."""

    def __init__(self, name: str) -> None:
        data = read(f"gkc_losses_{name}")
        self.data = data
        self.queries = [data[f"in/state{i}_f_query(class_embed output)"].requires_grad_() for i in range(3)]
        embed = ["aux_embed_porj_0.1", "aux_embed_porj_1.1", "embed_proj.1"]
        student = ["aux_kd_porj_0", "aux_kd_porj_1", "kd_proj"]

        def linear(x: Any, key: str) -> Any:
            return F.linear(x, data[f"w/{key}.weight"], data[f"w/{key}.bias"])

        self.states = [
            GkcState(data[f"in/state{i}_mask_logits"], linear(f.relu(), embed[i]), linear(f, student[i]))
            for i, f in enumerate(self.queries)
        ]
        # the published model pads 32 x 40 pixels to multiples of 32
        masks = [F.pad(data[f"in/img{i}_gt_masks"], (0, 24)) for i in range(2)]
        self.truth = [Segments(own, data[f"in/img{i}_gt_classes"]) for i, own in enumerate(masks)]
        self.scale = data["w/logit_scale"].requires_grad_()
        self.no_object = data["w/non_object_embedding"].requires_grad_()
        self.text_scale = data["w/text_kd_logit_scale"].requires_grad_()
        table = data["in/text_table"]
        tokens = [data[f"in/img{i}_syn_tokens"][:, 0] for i in range(2)]
        cluster = name.startswith("cluster")
        if cluster:
            names = {"names": table[tokens[0]], "owner": data["in/syn_slice_cluster_of_name"]}
        else:  # lists of unlike length are filled up with token 0
            filled = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)
            names = {"names": table[filled], "labels": [data[f"in/img{i}_syn_labels"] for i in range(2)]}
        self.words = GkcWords(table[data["in/plain_token"][:, 0]], self.no_object, self.scale.exp(), **names)
        self.teaching = GkcTeaching(
            [torch.arange(len(own.labels)) for own in self.truth],
            [data[f"in/img{i}_teacher_unnormalised"] for i in range(2)],
            self.text_scale,
        )
        separate, dropout = name.endswith("textkd_dropout"), name.endswith("dropout")
        self.losses = GkcLosses(
            masks=MaskLosses(classes=(), cost=COST, points=48),
            distill_text=3.0,
            region_dropout=0.5 if dropout else 0.0,
            pool="mean" if name == "clusterAvg" else "max",
            form="separate" if separate else "folded",
        )

    def terms(self) -> dict[str, Any]:
        return gkc_terms(self.states, self.truth, self.words, self.teaching, self.losses, replay(self.data))


@pytest.mark.parametrize("name", GKC)
def test_gkcs_losses_are_the_published_ones(name: str) -> None:
    gkc = Gkc(name)
    terms = gkc.terms()
    names = {
        "mask": "mask",
        "dice": "dice",
        "class": "ce",
        "synonym": "syn",
        "distill": "kd",
        "distill_text": "text_kd",
    }
    found = {name.replace("/", "_"): loss for name, loss in terms.items()}
    expected = {
        key.removeprefix("out_weighted/loss_"): loss for key, loss in gkc.data.items() if key.startswith("out_weighted")
    }
    translated = {
        f"{ours}{suffix}": expected[f"{theirs}{suffix}"]
        for ours, theirs in names.items()
        for suffix in ("", "_0", "_1")
        if f"{theirs}{suffix}" in expected
    }
    assert set(found) == set(translated)
    assert len(translated) == len(expected)
    for key, loss in translated.items():
        close(found[key], loss)


@pytest.mark.parametrize("name", GKC)
def test_the_gradients_of_gkcs_losses_are_the_published_ones(name: str) -> None:
    gkc = Gkc(name)
    loss = total(gkc.terms())[0]
    close(loss, gkc.data["out/total"])
    loss.backward()
    for i, query in enumerate(gkc.queries):
        close(query.grad, gkc.data[f"out/grad_state{i}_f_query"], 1e-4)
    close(gkc.text_scale.grad, gkc.data["out/grad_text_kd_logit_scale"])
    close(gkc.scale.grad, gkc.data["out/grad_logit_scale"], 1e-4)
    close(gkc.no_object.grad, gkc.data["out/grad_non_object_embedding"], 1e-4)
