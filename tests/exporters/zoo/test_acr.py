"""ACR against its card: counts, hand-computed values, routing, what must be learnt."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from exporters.checkpoint import Checkpoint
from exporters.courses.acf import MEAN, STD
from exporters.courses.acr import course
from exporters.errors import DatasetError
from exporters.metrics.answers import accuracies, majority
from exporters.readers.questions import banded, is_open, read_questions
from exporters.registry import build_network
from exporters.zoo.acr import ACR, routed
from exporters.zoo.acr_deploy import Fused, companions, deploy
from exporters.zoo.acr_loss import acr_loss
from exporters.zoo.acr_vision import CRU, SRU, gates, mixing

TINY = {
    "base": 16, "depths": (1, 1, 1, 1), "width": 64, "heads": 4, "question_layers": 1, "layers": 1, "edge_px": 64,
    "words": 20, "answers": 6, "dropout": 0.0,
}  # fmt: skip


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_published_size_has_the_parameters_of_the_card() -> None:
    with torch.device("meta"):
        whole, bare = build_network("acr"), build_network("acr", dre=False)
    assert count(whole) == 48_268_559
    assert count(whole) == pytest.approx(47.9e6, rel=0.02)
    assert round(count(bare) / 1e6, 3) == 45.978
    assert round(count(whole.vision.backbone) / 1e6, 3) == 25.799


def test_the_gate_is_one_above_the_threshold_and_soft_below() -> None:
    first, second = gates(torch.tensor([0.5, -0.5]))
    torch.testing.assert_close(first, torch.tensor([1.0, 0.3775]), atol=1e-4, rtol=0)
    torch.testing.assert_close(second, torch.tensor([0.0, 0.3775]), atol=1e-4, rtol=0)


def test_channels_are_mixed_without_overflow() -> None:
    assert mixing(torch.tensor(2.0), torch.tensor(1.0)).item() == pytest.approx(0.73106, abs=1e-5)
    assert mixing(torch.tensor(500.0), torch.tensor(500.0)).item() == 0.5
    assert CRU(16)(torch.randn(2, 16, 4, 4)).shape == (2, 16, 4, 4)


@pytest.mark.parametrize(("hard", "learns"), [(False, True), (True, False)])
def test_gamma_learns_through_the_soft_gate_alone(hard: bool, learns: bool) -> None:
    torch.manual_seed(0)
    unit = SRU(16, hard=hard)
    (unit(torch.randn(2, 16, 4, 4, requires_grad=True)) ** 2).mean().backward()
    grad = unit.norm.weight.grad
    assert (grad is not None and bool((grad != 0).any())) is learns


def test_equal_type_logits_mean_open() -> None:
    assert routed(torch.tensor([[0.2, 0.2], [0.3, 0.2], [0.1, 0.2]])).tolist() == [True, False, True]


def test_accuracy_is_counted_over_all_questions() -> None:
    even = accuracies(["judging"] * 4 + ["analysis"] * 4, [True, True, True, False, True, False, False, False])
    assert even.overall == 50.0
    uneven = accuracies(["judging"] * 40 + ["analysis"] * 4, [True] * 30 + [False] * 10 + [True] + [False] * 3)
    assert round(uneven.overall, 2) == 70.45
    floor = majority([("a", "x"), ("a", "y"), ("a", "x"), ("b", "z")], [("a", "x"), ("a", "y"), ("b", "z"), ("c", "q")])
    assert floor.overall == 50.0


def test_padding_changes_no_answer() -> None:
    torch.manual_seed(1)
    network = ACR(**TINY).eval()
    image, question = torch.randn(1, 3, 64, 64), torch.randint(2, 20, (1, 3))
    wanted, kind = network(image, question)
    for length in (4, 9, 16):
        padded = torch.cat([question, torch.zeros(1, length - 3, dtype=torch.int64)], 1)
        answer, type_logits = network(image, padded)
        torch.testing.assert_close(answer, wanted, atol=1e-5, rtol=0)
        torch.testing.assert_close(type_logits, kind, atol=1e-5, rtol=0)


def test_the_type_chooses_the_stack() -> None:
    torch.manual_seed(2)
    network = ACR(**TINY).eval()
    image, question = torch.randn(2, 3, 64, 64), torch.randint(2, 20, (2, 5))
    closed, opened = torch.zeros(2, dtype=torch.bool), torch.ones(2, dtype=torch.bool)
    before, other = network(image, question, closed)[0], network(image, question, opened)[0]
    assert not torch.allclose(before, other)
    network.reason.closed, network.reason.open = network.reason.open, network.reason.closed
    torch.testing.assert_close(network(image, question, opened)[0], before)
    torch.testing.assert_close(network(image, question, closed)[0], other)


def test_every_switch_runs_and_a_blind_network_sees_nothing() -> None:
    torch.manual_seed(3)
    question = torch.randint(2, 20, (2, 5))
    for switches in ({"dre": False}, {"routing": False}, {"hard_gate": True}, {"looks": False}):
        network = ACR(**TINY, **switches).eval()
        one, other = (network(torch.randn(2, 3, 64, 64), question)[0] for _ in range(2))
        assert torch.allclose(one, other) is (switches == {"looks": False})


def test_eight_pictures_are_learnt_by_heart() -> None:
    torch.manual_seed(4)
    network = ACR(**{**TINY, "width": 128})
    picture = torch.arange(16) // 2
    images = torch.randn(8, 3, 64, 64)[picture]
    kind = torch.arange(16) % 2 == 1
    question = torch.where(kind[:, None], torch.tensor([[4, 5, 6]]), torch.tensor([[2, 3, 7]]))
    answer = torch.where(kind, 2 + picture % 4, picture // 4)
    optimiser = torch.optim.Adam(network.parameters(), 3e-4)
    for _ in range(60):
        logits, type_logits = network(images, question, kind)
        right = (logits.argmax(1) == answer).all() and (routed(type_logits) == kind).all()
        if bool(right):
            return
        losses = acr_loss(logits, type_logits, answer, kind)
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
    pytest.fail("not learnt within 60 steps")


def test_the_split_graphs_answer_as_the_whole_network_does() -> None:
    import onnxruntime

    from exporters import graph
    from exporters.zoo.companions import fused

    torch.manual_seed(5)
    trained = ACR(**TINY)
    with torch.no_grad():
        trained(torch.randn(8, 3, 64, 64), torch.randint(2, 20, (8, 5)))
    checkpoint = Checkpoint(
        network="acr",
        switches={**TINY},
        kind="embedding",
        classes=(),
        edge_px=64,
        mean=MEAN,
        std=STD,
        state_dict=trained.state_dict(),
        notes={"vocabulary": "is\nroad\n", "answers": "no\nyes\n"},
    )
    network = checkpoint.build()
    files = companions(network, checkpoint)
    assert sorted(files) == ["answer.onnx", "answers.txt", "vocabulary.txt"]
    tiles = torch.randint(0, 256, (20, 3, 64, 64), dtype=torch.uint8)
    question = torch.randint(2, 20, (20, 16))
    question[:, 7:] = 0
    source = graph.round_weights(fused(network))
    features = deploy(source, checkpoint)(tiles).detach()
    np.testing.assert_allclose(features.norm(dim=1), 1.0, atol=1e-5)
    reason = onnxruntime.InferenceSession(files["answer.onnx"])
    shares, opens = reason.run(None, {"features": features.numpy(), "question": question.numpy()})
    with torch.no_grad():
        logits, type_logits = Fused(source, deploy(source, checkpoint).prepared)(tiles, question)
    np.testing.assert_allclose(shares, logits.softmax(1), atol=1e-5)
    np.testing.assert_allclose(opens, type_logits.softmax(1)[:, 1], atol=1e-5)
    assert np.array_equal(shares.argmax(1), logits.argmax(1).numpy())


def test_questions_come_in_both_layouts_and_wrong_ones_are_named(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0.png").touch()
    entry = {"image": "0.png", "type": "count", "question": "How many roads are there?", "answer": "57"}
    (tmp_path / "qa.json").write_text(json.dumps([entry, {**entry, "image": "1.png"}]))
    (tmp_path / "train.txt").write_text("0.png\n")
    (one,) = read_questions(tmp_path, "train").asked
    assert (one.kind, one.answer, is_open(one.question)) == ("count", "11 to 100", True)
    with pytest.raises(DatasetError, match=r"There is no .*test\.txt"):
        read_questions(tmp_path, "test")
    (tmp_path / "train.txt").write_text("0.png\n9.png\n")
    with pytest.raises(DatasetError, match=r"9\.png, which the questions name"):
        read_questions(tmp_path, "train")
    (tmp_path / "qa.json").write_text('[{"image": "0.png"}]')
    with pytest.raises(DatasetError, match="an entry without 'type'"):
        read_questions(tmp_path, "train")
    earth = tmp_path / "earth"
    (earth / "Val" / "images_png").mkdir(parents=True)
    (earth / "Val" / "images_png" / "7.png").touch()
    asked = {"Type": "Basic Judging", "Question": "Is there any water?", "Answer": "No"}
    (earth / "Val_QA.json").write_text(json.dumps({"7.png": [asked]}))
    assert read_questions(earth, "val").asked[0].answer == "No"
    (earth / "Test_QA.json").write_text(json.dumps({"7.png": [{"Type": "x", "Question": "y"}]}))
    with pytest.raises(DatasetError, match="withheld"):
        read_questions(earth, "test")


def test_counts_are_grouped_as_published() -> None:
    found = [banded(text) for text in ("0", "10", "11", "1000", "1001", "Rural")]
    assert found == ["0", "1 to 10", "11 to 100", "101 to 1000", "more than 1000", "rural"]


def test_the_floor_of_the_sample_is_the_one_of_its_readme(data_dir: Path) -> None:
    data = data_dir / "vqa-rsvqa-samples" / "lr"
    if not data.is_dir():
        pytest.skip("needs DATA: vqa-rsvqa-samples")
    one = course(data, edge_px=64)
    floor = one.floor(one.tested)
    assert (len(one.fit), len(one.held), len(one.tested)) == (3203, 601, 1201)
    assert (round(floor.by_kind["presence"], 1), round(floor.by_kind["comp"], 1)) == (67.7, 64.8)
    images, picture, tokens, answer, opened = next(iter(one.batches(0)))
    assert images.shape[0] == 4
    assert len(picture) == len(tokens) == len(answer) == len(opened) == 160
