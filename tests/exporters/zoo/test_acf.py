"""ACF against its card: counts, hand-computed values, what must and must not be learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from exporters.checkpoint import Checkpoint
from exporters.courses.acf import MEAN, STD, course
from exporters.errors import DatasetError
from exporters.metrics.retrieval import Recalls, chance, recalls
from exporters.readers.captions import read_captions
from exporters.registry import build_network
from exporters.vocabulary import Vocabulary
from exporters.zoo.acf import ACF, Matcher, TextEncoder, corrected, filtered, gate
from exporters.zoo.acf_deploy import Prepared, Rerank, TextEmbedding, companions, deploy
from exporters.zoo.acf_loss import acf_loss, triplet

TINY = {"channels": (16, 16, 32, 32), "depths": (1, 1, 1, 1), "edge_px": 64, "words": 40}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("size", "image_m", "head_m"), [("published", 26.71, 27.25), ("edge", 10.19, 10.71)])
def test_both_sizes_have_the_parameters_of_the_card(size: str, image_m: float, head_m: float) -> None:
    with torch.device("meta"):
        network = build_network("acf", size=size)
    top = network.image.top.in_features
    head = top * 1024 + 1024 + 2 * 1024 + 1024 * 1000 + 1000
    assert count(network.image) == pytest.approx(image_m * 1e6, rel=0.005)
    assert count(network.image.backbone) + head == pytest.approx(head_m * 1e6, rel=0.001)
    assert count(network.text) - count(network.text.embedding) == 2_763_776


def test_the_filter_keeps_what_is_within_q_of_the_greatest_squared() -> None:
    kept = filtered(torch.tensor([0.45, 0.38, 0.12, 0.05]), 0)
    torch.testing.assert_close(kept, torch.tensor([0.58374, 0.41626, 0.0, 0.0]), atol=1e-5, rtol=0)


def test_the_correction_as_printed_changes_nothing() -> None:
    weights = torch.rand(3, 5).softmax(1)
    for sim_g in (-0.9, 0.0, 0.29, 0.8):
        changed = corrected(weights.double(), torch.tensor(sim_g, dtype=torch.float64), 1)
        torch.testing.assert_close(changed, weights.double(), atol=2e-4, rtol=0)  # its 1e-6 beside 0.01


def test_the_gate_scales_a_score_by_the_global_likeness() -> None:
    torch.testing.assert_close(gate(torch.tensor([0.8, -0.9])), torch.tensor([1.5, 0.0]))


def test_the_hinge_is_the_hand_computed_one() -> None:
    scores = torch.tensor([[0.7, 0.4], [0.6, 0.8]])
    assert float(triplet(scores)) == pytest.approx(0.05)
    assert float(acf_loss(scores, scores)) == pytest.approx(0.1)
    assert float(acf_loss(scores, scores, global_loss=False)) == pytest.approx(0.05)


def test_padding_changes_neither_a_text_nor_a_score() -> None:
    torch.manual_seed(0)
    network = ACF(**TINY).eval()
    text = torch.randint(2, 40, (1, 8))
    padded = torch.cat([torch.cat([text, torch.zeros(1, 5, dtype=torch.int64)], 1), torch.randint(2, 40, (3, 13))])
    alone, within = network.text(text), network.text(padded)
    torch.testing.assert_close(alone[1][0], within[1][0], atol=1e-5, rtol=0)
    nodes, whole = torch.randn(2, 4, 512), torch.randn(2, 512)
    one, _ = network.match(nodes, whole, *alone)
    many, _ = network.match(nodes, whole, *within)
    torch.testing.assert_close(one[:, 0], many[:, 0], atol=1e-5, rtol=0)


def test_a_score_stays_in_its_range_and_every_switch_runs() -> None:
    torch.manual_seed(1)
    image, tokens = torch.randn(2, 3, 64, 64), torch.randint(2, 40, (3, 5))
    for switches in ({}, {"gat": False}, {"fusion": False}, {"filtering": False}, {"correction": "literal"},
                     {"correction": "off"}, {"matching": "global"}):  # fmt: skip
        score, sim_g = ACF(**TINY, **switches)(image, tokens)
        assert score.shape == sim_g.shape == (2, 3)
        assert bool((score.abs() <= 3.4).all())
    with pytest.raises(ValueError, match="use one of score_gate"):
        Matcher(correction="none")


class Overfit(nn.Module):
    """Fixed random nodes through a projection, beside the whole text encoder and matcher (card, check 5)."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.text, self.match = nn.Linear(64, 512), TextEncoder(60), Matcher()

    def forward(self, nodes: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shown = self.project(nodes)
        score, sim_g = self.match(shown, shown.mean(1), *self.text(tokens))
        return score, sim_g


def overfitted(sign: float, steps: int) -> tuple[float, Recalls]:
    torch.manual_seed(3)
    nodes, tokens, network = torch.randn(8, 9, 64), torch.randint(2, 60, (8, 7)), Overfit()
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(steps):
        score, sim_g = network(nodes, tokens)
        loss = triplet(score, sign=sign) + triplet(sim_g, sign=sign)
        if loss.item() < 0.02:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return loss.item(), recalls(score.detach().numpy(), np.arange(8))


def test_eight_pairs_are_learnt_by_heart() -> None:
    loss, found = overfitted(1.0, 200)
    assert loss < 0.02
    assert found.sentence[0] == found.image[0] == 100.0


def test_the_printed_sign_reaches_no_loss_without_learning_the_order() -> None:
    loss, found = overfitted(-1.0, 60)
    assert loss < 0.02
    assert min(found.sentence[0], found.image[0]) < 100.0


def test_recalls_are_those_counted_by_hand() -> None:
    owner = np.repeat([0, 1], 5)
    scores = np.array([[7, 1, 1, 1, 1, 9, 8, 0, 0, 0], [0, 0, 0, 0, 0, 9, 1, 1, 1, 1]], dtype=np.float64)
    found = recalls(scores, owner)
    assert found.sentence[:2] == (50.0, 100.0)
    assert Recalls((15.49, 34.96, 49.12), (12.83, 37.74, 55.53)).mean == pytest.approx(34.278, abs=5e-4)
    assert chance(62, 5).image[0] == pytest.approx(100 / 62)
    with pytest.raises(ValueError, match="finite"):
        recalls(np.full((2, 10), np.nan), owner)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(5)
    network = ACF(**TINY)
    with torch.no_grad():
        for _ in range(3):  # statistics of their own for the batch norms
            network(torch.randn(8, 3, 64, 64), torch.randint(2, 40, (2, 5)))
    words = Vocabulary(tuple(f"w{n}" for n in range(38)))
    return Checkpoint(
        network="acf",
        switches={**TINY},
        kind="embedding",
        classes=(),
        edge_px=64,
        mean=MEAN,
        std=STD,
        state_dict=network.state_dict(),
        notes={"vocabulary": words.text()},
    )


def test_the_graphs_beside_the_model_answer_as_the_network_does(checkpoint: Checkpoint) -> None:
    import onnxruntime

    from exporters.graph import round_weights
    from exporters.zoo.companions import fused

    network = checkpoint.build()
    files = companions(network, checkpoint)
    assert sorted(files) == ["rerank.onnx", "text.onnx", "vocabulary.txt"]
    text = onnxruntime.InferenceSession(files["text.onnx"])
    again = onnxruntime.InferenceSession(files["rerank.onnx"])
    stored = Rerank(network, Prepared(MEAN, STD)).eval()
    read = round_weights(fused(TextEmbedding(network)))
    tiles = np.random.default_rng(0).integers(0, 256, (6, 3, 64, 64), dtype=np.uint8)
    for length in (2, 3, 12):
        tokens = torch.randint(2, 40, (1, length))
        vector, words = text.run(None, {"tokens": tokens.numpy()})
        expected = read(tokens)
        np.testing.assert_allclose(vector, expected[0].detach(), atol=1e-5)
        np.testing.assert_allclose(words, expected[1].detach(), atol=1e-5)
        inputs = {"tiles": tiles, "words": words, "t_global": vector, "tokens": tokens.numpy()}
        score = again.run(None, inputs)[0]
        with torch.no_grad():
            wanted = stored(torch.from_numpy(tiles), expected[1], expected[0], tokens)
        np.testing.assert_allclose(score, wanted, atol=1e-4)
        assert np.array_equal(score[:, 0].argsort(), wanted[:, 0].numpy().argsort())
    vectors = deploy(network, checkpoint)(torch.from_numpy(tiles))
    np.testing.assert_allclose(vectors.detach().norm(dim=1), 1.0, atol=1e-6)


def test_a_vocabulary_is_one_file_and_the_same_again() -> None:
    words = Vocabulary.of(["Two ships, near a harbour.", "a ship"])
    assert words.words == ("a", "harbour", "near", "ship", "ships", "two")
    assert Vocabulary.parse(words.text().encode()) == words
    assert words.tokens(["a ship sinks"]).tolist() == [[2, 5, 1]]
    assert words.unpack(words.pack("a ship sinks")) == "a ship ?"
    for wrong in (b"", b"two words\n", b"a\na\n", b"\xff\n"):
        with pytest.raises(DatasetError):
            Vocabulary.parse(wrong)


def test_captions_come_in_three_layouts_and_wrong_ones_are_named(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").touch()
    own = '[{"image": "a.jpg", "split": "train", "captions": ["one", "two"]}]'
    (tmp_path / "captions.json").write_text(own)
    assert read_captions(tmp_path, "train").captions == (("one", "two"),)
    (tmp_path / "captions.json").write_text(
        '{"images": [{"filename": "a.jpg", "split": "train", "sentences": [{"raw": "three"}]}]}'
    )
    assert read_captions(tmp_path, "train").texts == ("three",)
    (tmp_path / "train_caps.txt").write_text("1\n2\n3\n4\n5\n")
    (tmp_path / "train_filename.txt").write_text("a.jpg\n")
    assert len(read_captions(tmp_path, "train").texts) == 5
    (tmp_path / "train_filename.txt").write_text("a.jpg\nb.jpg\n")
    with pytest.raises(DatasetError, match="5 captions for 2 pictures"):
        read_captions(tmp_path, "train")
    with pytest.raises(DatasetError, match="no picture of split 'val'"):
        read_captions(tmp_path, "val")
    (tmp_path / "captions.json").write_text(own.replace("a.jpg", "../a.jpg").replace("train", "test"))
    with pytest.raises(DatasetError, match="plain file name"):
        read_captions(tmp_path, "test")


def test_a_course_gives_the_same_batches_again(data_dir: Path) -> None:
    data = data_dir / "rsicd-text-image-subset"
    if not data.is_dir():
        pytest.skip("needs DATA: rsicd-text-image-subset")
    one, other = course(data, edge_px=64, seed=4), course(data, edge_px=64, seed=4)
    assert (len(one.fit), len(one.held), len(one.tested)) == (78, 15, 62)
    first, second = next(iter(one.batches(3))), next(iter(other.batches(3)))
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.tokens, second.tokens)
    assert not torch.equal(first.images, next(iter(one.batches(4))).images)
    with pytest.raises(DatasetError, match="no switch"):
        course(data, rotation=3)
