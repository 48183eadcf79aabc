from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from exporters.errors import ExporterError
from exporters.graph import count_macs, fuse_batch_norms
from exporters.metrics.boxes import paired_difference
from exporters.registry import build_network, network_named

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402, TID253

from exporters.zoo.sscdh import ANCHORS_PX, SSCDH, ContextLevel  # noqa: E402
from exporters.zoo.sscdh_decode import Deployed, best_boxes, cell_grid, decode, decode_level  # noqa: E402
from exporters.zoo.sscdh_loss import assign, ciou, detection_loss, focus, wise_iou  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small layers are slower on several threads, much slower where those share a core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


YOLO = {"attention": False, "head": "coupled"}


def parameters(network: nn.Module) -> int:
    return sum(one.numel() for one in network.parameters())


def edge_network(**switches: object) -> SSCDH:
    torch.manual_seed(0)
    return SSCDH(width=0.125, **switches)  # type: ignore[arg-type]


def box(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float32)


@pytest.mark.parametrize(
    ("switches", "count", "fused"),
    [
        ({}, 6_880_172, 6_870_812),
        (YOLO, 1_765_270, 1_760_518),
        ({**YOLO, "classes": 80}, 1_872_157, None),
        ({**YOLO, "head": "plain"}, 2_233_622, None),
    ],
)
def test_parameters_are_those_of_the_card(switches: dict[str, object], count: int, fused: int | None) -> None:
    network = SSCDH(**switches)  # type: ignore[arg-type]
    assert parameters(network) == count
    if fused:
        assert parameters(fuse_batch_norms(network)) == fused


def test_operations_are_those_of_the_paper() -> None:
    macs = {head: count_macs(build_network("sscdh", head=head), edge_px=128) * 25 for head in ("context", "plain")}
    assert 2 * macs["context"] / 1e9 == pytest.approx(9.8, rel=0.02)
    assert 1.35 <= macs["context"] / macs["plain"] <= 1.48
    edge = count_macs(build_network("sscdh", size="edge"), edge_px=128) * 25
    assert edge / macs["context"] == pytest.approx(0.25, abs=0.02)
    assert network_named("yolov5n").sizes["published"].params_paper == parameters(build_network("yolov5n"))


@pytest.mark.parametrize(
    ("ours", "theirs", "mean", "iou", "loss"),
    [
        (box(10, 10, 4, 4), box(11, 10, 4, 4), 0.5, 0.6, 0.448621),
        (box(0, 0, 2, 2), box(3, 4, 2, 2), 0.5, 0.0, 1.908323),
        (box(10, 10, 8, 4), box(10, 10, 4, 4), 0.25, 0.5, 0.633333),
    ],
)
def test_wise_iou_has_the_values_worked_out_by_hand(
    ours: Tensor, theirs: Tensor, mean: float, iou: float, loss: float
) -> None:
    found, overlap = wise_iou(ours, theirs, torch.tensor(mean))
    assert float(overlap) == pytest.approx(iou, abs=1e-6)
    assert float(found) == pytest.approx(loss, abs=1e-5)


def test_ciou_has_the_value_worked_out_by_hand() -> None:
    assert 1 - float(ciou(box(10, 10, 4, 4), box(11, 10, 4, 4))[0]) == pytest.approx(0.575610, abs=1e-6)


def test_focusing_is_largest_for_ordinary_boxes() -> None:
    peak = 1 / math.log(1.9)
    values = focus(torch.tensor([0.0, peak - 0.1, peak, peak + 0.1, 3.0]))
    assert values.tolist() == pytest.approx([0.0, values[1].item(), 1.310415, values[3].item(), 1.0], abs=1e-6)
    assert values.argmax() == 2


def test_the_enclosing_box_and_the_focus_take_no_gradient() -> None:
    ours = box(0, 0, 2, 2).requires_grad_()
    wise_iou(ours, box(3, 4, 2, 2), torch.tensor(0.5))[0].backward()
    assert ours.grad is not None
    scale = 1.266667 * math.exp(25 / 61) * 2 / 61  # r R (1 - IoU) / (Wc^2 + Hc^2) times twice the distance
    assert ours.grad[0].tolist() == pytest.approx([-3 * scale, -4 * scale, 0.0, 0.0], abs=1e-4)


def test_decoding_has_the_values_worked_out_by_hand() -> None:
    raw = torch.zeros(1, 1, 8, 6, 6)
    raw[0, 0, 7, 5, :4] = torch.tensor([0.0, 1.0, -1.0, 0.5])
    found = decode_level(raw, cell_grid(8, 6), torch.tensor([[10.0, 13.0]]), 8)[0, 7 * 6 + 5]
    assert found[:4].tolist() == pytest.approx([44.0, 63.696937, 2.893180, 20.147692], abs=1e-5)
    assert found[4:].tolist() == [0.5, 0.5]


def test_sub_pixels_of_the_semantic_branch_lie_row_by_row() -> None:
    level = ContextLevel(8, 16, 32, 1, 1, 8).eval()
    level.predict_what.weight.data.zero_()
    level.predict_what.bias.data = torch.arange(8.0)
    out = level(torch.zeros(1, 8, 8, 8), torch.zeros(1, 16, 4, 4), torch.zeros(1, 32, 2, 2))
    assert out.shape == (1, 1, 4, 4, 6)
    assert out[0, 0, :2, :2, 4].tolist() == [[0.0, 1.0], [2.0, 3.0]]
    assert out[0, 0, :2, :2, 5].tolist() == [[4.0, 5.0], [6.0, 7.0]]


def test_a_box_is_sought_in_its_cell_and_the_two_nearest() -> None:
    target = torch.tensor([[0.0, 0, 13.6, 33.6, 33.6, 53.6]])  # centre (23.6, 43.6) px: cell (2.95, 5.45)
    found = assign(target, torch.tensor(ANCHORS_PX[0]), 8, 16, 16)
    cells = set(zip(found.column.tolist(), found.row.tolist(), strict=True))
    assert cells == {(2, 5), (3, 5), (2, 4)}
    assert sorted(set(found.slot.tolist())) == [0, 1, 2]
    assert (
        found.box[:, :2] + torch.stack([found.column, found.row], 1) - torch.tensor([2.95, 5.45])
    ).abs().max() < 1e-5
    assert not len(assign(target, torch.tensor([[100.0, 100.0]]), 8, 16, 16).image)


def test_every_branch_learns_from_one_class() -> None:
    network = edge_network().train()
    targets = torch.tensor([[0.0, 0, 10, 10, 30, 30], [0, 0, 60, 60, 120, 110], [1, 0, 5, 5, 125, 120]])
    images = torch.rand(2, 3, 128, 128)
    detection_loss(network, network(images), targets, edge_px=128)["loss"].backward()
    silent = [
        name
        for name, one in network.named_parameters()
        if one.grad is None or (one.ndim > 1 and not one.grad.abs().sum() > 0)
    ]
    assert [name for name in silent if "attention" not in name] == []
    assert float(network.mean_loss) < 1.0


def test_the_running_mean_moves_in_training_alone() -> None:
    network = edge_network()
    with torch.no_grad():
        network.mean_loss.lerp_(torch.tensor(0.6), 0.01)
    assert float(network.mean_loss) == pytest.approx(0.996)
    targets = torch.tensor([[0.0, 0, 10, 10, 30, 30]])
    detection_loss(network.eval(), network(torch.rand(1, 3, 64, 64)), targets, edge_px=64)
    assert float(network.mean_loss) == pytest.approx(0.996)


def test_a_batch_without_boxes_teaches_objectness_alone() -> None:
    network = edge_network(**YOLO).train()
    loss = detection_loss(network, network(torch.rand(1, 3, 64, 64)), torch.zeros(0, 6), edge_px=64)
    assert float(loss["loss"].detach()) > 0
    assert float(loss["box"]) == 0


def test_a_few_steps_learn_two_chips_by_heart() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, 128, 128) * 0.25
    targets = torch.tensor([[0.0, 0, 20, 20, 44, 40], [0, 0, 80, 60, 100, 96], [1, 0, 40, 50, 70, 70]])
    for image, _, left, top, right, bottom in targets.int().tolist():
        images[image, :, top:bottom, left:right] = 0.9
    network = edge_network().train()
    optimiser = torch.optim.AdamW(network.parameters(), 4e-3)
    losses = []
    for _ in range(30):
        loss = detection_loss(network, network(images), targets, edge_px=128)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


def test_sides_that_do_not_divide_are_refused_with_the_size_to_letterbox_to() -> None:
    with pytest.raises(ExporterError, match=r"multiples of 64 px, not 800 x 800. Letterbox to 832 x 832"):
        edge_network()(torch.zeros(1, 3, 800, 800))
    with pytest.raises(ExporterError, match="multiples of 64"):
        Deployed(edge_network(), 96)
    with pytest.raises(ExporterError, match="no head 'huge'"):
        SSCDH(head="huge")
    with pytest.raises(ExporterError, match="no box loss 'l2'"):
        detection_loss(edge_network(), [torch.zeros(1, 3, 8, 8, 6)] * 3, torch.zeros(0, 6), edge_px=64, box_loss="l2")


def test_the_best_boxes_come_first_with_their_class() -> None:
    network = edge_network(classes=3).eval()
    with torch.inference_mode():
        det = decode(network(torch.rand(2, 3, 128, 128)), network.anchors_px)
        found = best_boxes(det)
    assert det.shape == (2, 3 * (16 * 16 + 8 * 8 + 4 * 4), 8)
    assert found.shape == (2, 300, 6)
    assert (found[:, :-1, 4] >= found[:, 1:, 4]).all()
    top = int((det[0, :, 4:5] * det[0, :, 5:]).max(1).values.argmax())
    assert found[0, 0, 5] == det[0, top, 5:].argmax()
    assert found[0, 0, 2] - found[0, 0, 0] == pytest.approx(float(det[0, top, 2]), rel=1e-5)


def test_the_graph_answers_what_the_network_answers() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from exporters import graph

    deployed = Deployed(edge_network().eval(), 128).eval()
    for norm in (one for one in deployed.modules() if isinstance(one, nn.BatchNorm2d)):
        norm.running_var.uniform_(0.5, 2.0)
        norm.running_mean.uniform_(-0.3, 0.3)
    tiles = np.random.default_rng(0).integers(0, 256, (3, 3, 128, 128), dtype=np.uint8)
    model = graph.simplify(graph.trace(graph.fuse_batch_norms(deployed), edge_px=128, bands=3))
    assert "NonMaxSuppression" not in {node.op_type for node in model.graph.node}
    assert "ScatterND" not in {node.op_type for node in model.graph.node}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (answers,) = session.run(None, {session.get_inputs()[0].name: tiles})
    with torch.inference_mode():
        ours = deployed(torch.from_numpy(tiles)).numpy()
    apart = [paired_difference(one, other) for one, other in zip(ours, answers, strict=True)]
    assert max(px for px, _ in apart) <= 1e-3
    assert max(score for _, score in apart) <= 1e-5
