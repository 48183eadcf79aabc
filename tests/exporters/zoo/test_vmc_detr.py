from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporters.courses.detection_tiles import cut_tiles
from exporters.errors import ExporterError, FitError
from exporters.fit import course_of
from exporters.metrics.boxes import paired_difference
from exporters.readers.detection import DetectionSet
from exporters.registry import build_network, network_named

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402, TID253

from exporters.zoo.vmc_detr import VMCDETR, stated_gflops  # noqa: E402
from exporters.zoo.vmc_detr_blocks import ADown, RepConv  # noqa: E402
from exporters.zoo.vmc_detr_decoder import FAR, anchor_logits, logit  # noqa: E402
from exporters.zoo.vmc_detr_deploy import Deployed, best_boxes, deploy, fold_decay, fuse_rep, lower, merge_kernels  # noqa: E402
from exporters.zoo.vmc_detr_loss import Truth, detection_loss, layer_loss, noisy_queries, truths, varifocal  # noqa: E402
from exporters.zoo.vmc_detr_matching import assign_least, class_cost, giou, match  # noqa: E402
from exporters.zoo.vmc_detr_neck import CAGFM, Spread  # noqa: E402
from exporters.zoo.vmc_detr_vheat import HeatConduction, HeatDecay, dct_matrix  # noqa: E402

PLAIN = {"backbone": "r18", "mfadm": False, "cagfm": False}
EDGE_PX = 128


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small layers are slower on several threads, much slower where those share a core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def parameters(network: nn.Module) -> int:
    return sum(one.numel() for one in network.parameters())


def published(**switches: object) -> VMCDETR:
    with torch.device("meta"):
        return VMCDETR(**switches)  # type: ignore[arg-type]


def edge_network(**switches: object) -> VMCDETR:
    torch.manual_seed(0)
    return VMCDETR(**{"classes": 2, "width": 0.25, "edge_px": EDGE_PX, **switches})  # type: ignore[arg-type]


def stirred(network: nn.Module) -> nn.Module:
    """The same with statistics, offsets and boxes as a trained network has them: nothing is 0 or 1 by default."""
    torch.manual_seed(1)
    for one in network.modules():
        if isinstance(one, nn.BatchNorm2d):
            one.running_mean.uniform_(-0.3, 0.3)
            one.running_var.uniform_(0.5, 2.0)
    for name, weight in network.named_parameters():
        if name.startswith("decoder.") and not weight.any():
            weight.data.normal_(0.0, 0.02)
    return network.eval()


@pytest.mark.parametrize(
    ("switches", "count", "gflops"),
    [
        ({}, 26_410_968, 69.80),
        ({"backbone": "c2f"}, 27_746_520, 72.3),
        ({**PLAIN, "backbone": "c2f"}, 25_156_312, 64.3),
        ({**PLAIN, "classes": 80}, 20_184_208, 58.6),
        ({**PLAIN, "classes": 8}, 20_091_760, 58.3),
    ],
)
def test_parameters_and_operations_are_those_of_the_card(
    switches: dict[str, object], count: int, gflops: float
) -> None:
    network = published(**switches)
    assert parameters(network) == count
    assert stated_gflops(network, edge_px=640) == pytest.approx(gflops, rel=0.002)


def test_the_paper_s_operations_are_met_and_every_stage_has_its_parameters() -> None:
    network = published()
    assert stated_gflops(network, edge_px=640) == pytest.approx(70.5, rel=0.015)
    counts = {name: parameters(part) for name, part in network.named_modules()}
    expected = {
        "backbone.stem": 1_856,
        "backbone.stage2": 73_984 + 115_456,
        "backbone.stage3": 295_424 + 460_288,
        "backbone.stage4": 1_180_672 + 1_859_840,
        "backbone.stage5": 4_720_640 + 5_988_864,
        "backbone.stage4.1.block": 1_202_432,
        "backbone.stage5.1.block": 3_363_328,
        "neck.top.narrow": 262_656,
        "neck.top.attend": 789_760,
        "neck.top.lateral": 66_048,
        "neck.mfadm1": 1_365_504,
        "neck.mfadm2": 502_784,
        "neck.down1": 164_352,
        "neck.fine1": 262_656,
        "neck.coarse2": 590_592,
        "neck.rep_fine1": 657_920,
        "neck.rep_coarse2": 723_456,
        "decoder": 3_929_240,
    }
    assert {name: counts[name] for name in expected} == expected


def test_kernels_cost_what_the_card_s_formula_says() -> None:
    kernels = (3, 7, 11, 15)
    expected = 68.78 + 0.0036864 * sum(kernel**2 for kernel in kernels)
    assert stated_gflops(published(kernels=kernels), edge_px=640) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("backbone", ["vheat", "c2f", "r18"])
@pytest.mark.parametrize("modules", [(True, True), (True, False), (False, True), (False, False)])
def test_every_row_of_the_ablation_answers(backbone: str, modules: tuple[bool, bool]) -> None:
    network = edge_network(width=0.125, edge_px=64, backbone=backbone, mfadm=modules[0], cagfm=modules[1]).eval()
    with torch.inference_mode():
        found = network(torch.rand(1, 3, 64, 64))
    assert found.shape == (1, 64 + 16 + 4, 4 + 2)
    assert ((found >= 0) & (found <= 1)).all()


def test_the_zoo_knows_both_networks() -> None:
    for name in ("vmc_detr", "rtdetr_r18"):
        assert set(network_named(name).sizes) == {"published", "edge"}
        with torch.device("meta"):
            small = build_network(name, size="edge")
            assert parameters(small) < 0.1 * parameters(build_network(name))


def test_the_cosine_transform_is_orthonormal_and_has_the_values_worked_out_by_hand() -> None:
    matrix = dct_matrix(40)
    assert (matrix.T @ matrix - torch.eye(40)).abs().max() <= 3e-7
    found = dct_matrix(4) @ torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert found.tolist() == pytest.approx([5.0, -2.230442, 0.0, -0.158513], abs=1e-6)


def test_no_conduction_leaves_the_map_as_it_is_and_heat_decays_as_worked_out_by_hand() -> None:
    decay = HeatDecay(1, 40)
    decay.to_k.weight.data.zero_()
    assert decay.to_k.bias is not None
    decay.to_k.bias.data.fill_(1.0)
    assert float(decay()[1, 1, 0].detach()) == pytest.approx(0.987739, abs=1e-6)
    decay.to_k.bias.data.fill_(-1.0)  # k is never negative: high frequencies are never raised
    assert (decay() == 1.0).all()
    matrix, x = dct_matrix(40), torch.rand(40, 40)
    assert (matrix.T @ (matrix @ x @ matrix.T) @ matrix - x).abs().max() <= 1e-6


def test_folding_and_merging_change_nothing() -> None:
    torch.manual_seed(0)
    heat = HeatConduction(32, 10).eval()
    heat.decay.fve.data.normal_()
    x = torch.randn(2, 32, 10, 10)
    before = heat(x)
    heat.decay = fold_decay(heat.decay)  # type: ignore[assignment]
    assert (heat(x) - before).abs().max() <= 1e-6
    spread = Spread(32, (5, 7, 9, 11))
    assert (merge_kernels(spread)(x) - spread(x)).abs().max() <= 1e-5
    rep = stirred(RepConv(32))
    assert isinstance(rep, RepConv)
    assert (fuse_rep(rep)(x) - rep(x)).abs().max() <= 1e-5


def test_a_zero_gate_mixes_as_worked_out_by_hand() -> None:
    for values, wanted in (((2.0, 3.0), [4.0, 3.5]), ((1.0, 2.0, 3.0), [5.5, 5.0, 4.5])):
        fusion = CAGFM((1,) * len(values), 1, gate=True)
        for weight in fusion.parameters():
            weight.data.zero_()
        out = fusion(*(torch.full((1, 1, 3, 3), value) for value in values))
        assert out[0, :, 1, 1].tolist() == pytest.approx(wanted)


def test_adown_halves_even_sides_exactly() -> None:
    down = ADown(4, 8).eval()
    assert down(torch.rand(1, 4, 80, 80)).shape == (1, 8, 40, 40)
    assert down(torch.rand(1, 4, 40, 40)).shape == (1, 8, 20, 20)


def test_cells_on_the_border_of_the_finest_map_never_become_queries() -> None:
    anchors, valid = anchor_logits((80, 40, 20))
    assert int((~valid).sum()) == 4 * 79
    assert (anchors[~valid[:, 0]] == FAR).all()
    middle = torch.sigmoid(anchors[81])
    assert middle.tolist() == pytest.approx([1.5 / 80, 1.5 / 80, 0.05, 0.05], abs=1e-6)
    assert torch.isfinite(logit(torch.tensor([0.0, 1.0]))).all()


def test_losses_have_the_values_worked_out_by_hand() -> None:
    assert float(class_cost(torch.tensor(0.7))) == pytest.approx(-0.434435, abs=1e-6)
    right = torch.tensor([[True, False]])
    loss = varifocal(torch.tensor([[0.5, -1.0]]), torch.tensor([[0.8, 0.0]]), right)
    assert float(loss) == pytest.approx(0.476255, abs=1e-6)
    overlap, iou = giou(torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([3.0, 4.0, 2.0, 2.0]))
    assert float(overlap) == pytest.approx(-0.733333, abs=1e-6)
    assert float(iou) == 0.0


def test_a_layer_that_answers_rightly_pays_for_its_doubt_alone() -> None:
    wanted = [Truth(torch.tensor([[0.5, 0.5, 0.2, 0.1]]), torch.tensor([1]))]
    boxes = torch.tensor([[[0.1, 0.1, 0.2, 0.2], [0.5, 0.5, 0.2, 0.1]]])
    logits = torch.tensor([[[-20.0, -20.0], [-20.0, 0.0]]])
    query, target = match(boxes[0], logits[0], wanted[0].boxes, wanted[0].kinds)
    assert (query.tolist(), target.tolist()) == ([1], [0])
    from exporters.zoo.vmc_detr_loss import matched_pairs

    parts = layer_loss(boxes, logits, matched_pairs(boxes, logits, wanted), 1.0)
    assert float(parts["class"]) == pytest.approx(np.log(2.0), abs=1e-5)
    assert float(parts["box"]) == pytest.approx(0.0, abs=1e-6)
    assert float(parts["giou"]) == pytest.approx(0.0, abs=1e-5)


def test_the_assignment_is_the_cheapest_one() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(0)
    for number in range(60):
        cost = rng.normal(size=(rng.integers(0, 30), rng.integers(1, 50)))
        cost = np.round(cost) if number % 3 == 0 else cost  # many ties
        rows, columns = assign_least(cost)
        best = optimize.linear_sum_assignment(cost)
        assert len(rows) == len(set(columns.tolist())) == min(cost.shape)
        assert cost[rows, columns].sum() == pytest.approx(cost[best].sum(), abs=1e-9)


def test_noisy_copies_see_their_own_group_alone() -> None:
    torch.manual_seed(0)
    wanted = [
        Truth(torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.2, 0.3, 0.1, 0.1]]), torch.tensor([0, 1])),
        Truth(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
    ]
    made = noisy_queries(wanted, 2, 7)
    assert made is not None
    denoising, pairs, groups = made
    assert groups == 50
    assert denoising.boxes.shape == (2, 200, 4)
    assert (denoising.kinds[1] == 2).all()  # a picture without boxes has no copies
    assert denoising.hidden.shape == (207, 207)
    assert not denoising.hidden[:4, :4].any()
    assert denoising.hidden[:4, 4:200].all()
    assert denoising.hidden[200:, :200].all()
    assert not denoising.hidden[:, 200:].any()
    assert pairs.query[:4].tolist() == [0, 1, 4, 5]
    moved = (torch.sigmoid(denoising.boxes[0]) - wanted[0].boxes.repeat(100, 1))[:, :2].abs()
    assert (moved.reshape(50, 2, 2, 2)[:, 0] <= torch.tensor([[0.1], [0.05]]) + 1e-5).all()
    assert noisy_queries(wanted[1:], 2, 7) is None
    fewer = noisy_queries(wanted, 2, 7, copies=10)
    assert fewer is not None
    assert fewer[2] == 5
    assert fewer[0].boxes.shape == (2, 20, 4)


def test_a_crowd_is_copied_in_part() -> None:
    torch.manual_seed(0)
    crowd = [Truth(torch.rand(700, 4) * 0.5 + 0.2, torch.zeros(700, dtype=torch.int64))]
    made = noisy_queries(crowd, 1, 5)
    assert made is not None
    assert made[0].kinds.shape == (1, 1000)
    assert made[2] == 1


def test_boxes_in_pixels_become_fractions_of_their_picture() -> None:
    found = truths(torch.tensor([[1.0, 3, 10, 20, 30, 60]]), 2, 100)
    assert len(found[0].kinds) == 0
    assert found[1].kinds.tolist() == [3]
    assert found[1].boxes.flatten().tolist() == pytest.approx([0.2, 0.4, 0.2, 0.4])


@pytest.mark.parametrize("switches", [{}, PLAIN])
def test_every_part_learns(switches: dict[str, object]) -> None:
    network = edge_network(**switches).train()
    targets = torch.tensor([[0.0, 0, 10, 10, 50, 40], [0, 1, 60, 60, 80, 90], [1, 0, 5, 5, 100, 100]])
    detection_loss(network, torch.rand(2, 3, EDGE_PX, EDGE_PX), targets)["loss"].backward()
    assert [name for name, one in network.named_parameters() if one.grad is None] == []


def test_a_batch_without_boxes_teaches_that_there_is_nothing() -> None:
    loss = detection_loss(edge_network().train(), torch.rand(1, 3, EDGE_PX, EDGE_PX), torch.zeros(0, 6))
    assert float(loss["loss"].detach()) > 0
    assert float(loss["box"]) == float(loss["denoising"]) == 0


def test_attention_is_the_same_in_training_and_deployed() -> None:
    from exporters.zoo.vmc_detr_blocks import Attention

    torch.manual_seed(0)
    attend, x = Attention(32, 4), torch.randn(2, 9, 32)
    hidden = torch.eye(9, dtype=torch.bool)
    trained = attend.train()(x, x, x, hidden)
    assert (attend.eval()(x, x, x, hidden) - trained).abs().max() <= 1e-5


def test_a_few_steps_learn_two_pictures_by_heart() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, 96, 96) * 0.25
    targets = torch.tensor([[0.0, 0, 16, 16, 40, 36], [0, 0, 60, 48, 80, 84], [1, 0, 30, 40, 60, 60]])
    for image, _, left, top, right, bottom in targets.int().tolist():
        images[image, :, top:bottom, left:right] = 0.9
    network = edge_network(classes=1, edge_px=96).train()
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
    losses = []
    for _ in range(16):
        loss = detection_loss(network, images, targets)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-4:]) < 0.8 * losses[0]  # the long form is in the benchmark


def test_another_size_keeps_the_weights() -> None:
    network = edge_network().eval()
    larger = network.resize(192)
    assert parameters(larger) > parameters(network)
    with torch.inference_mode():
        assert larger(torch.rand(1, 3, 192, 192)).shape == (1, 300, 6)
        assert network(torch.rand(1, 3, EDGE_PX, EDGE_PX)).shape == (1, 300, 6)


def test_what_does_not_fit_is_refused_with_the_size_to_letterbox_to() -> None:
    with pytest.raises(ExporterError, match=r"multiple of 32 px, 64 or more, not 100\. Letterbox to 128"):
        VMCDETR(edge_px=100)
    with pytest.raises(ExporterError, match="takes 128 x 128 px, not 96 x 128"):
        edge_network()(torch.zeros(1, 3, 96, 128))
    with pytest.raises(ExporterError, match="no backbone 'huge'"):
        VMCDETR(backbone="huge")
    with pytest.raises(ExporterError, match="0 classes"):
        VMCDETR(classes=0)
    with pytest.raises(ExporterError, match="0 queries finds nothing"):
        VMCDETR(queries=0)
    with pytest.raises(FitError, match="cannot denoise 0 copies"):
        course_of("vmc_detr", Path("anywhere"), size="edge", copies=0)

    class Told:
        edge_px = 160

    with pytest.raises(ExporterError, match="says 160 px, its network was made for 128"):
        deploy(edge_network(), Told())


def test_the_best_pairs_of_query_and_class_come_first() -> None:
    det = torch.zeros(1, 3, 6)
    det[0, 1] = torch.tensor([0.5, 0.25, 0.2, 0.1, 0.9, 0.3])
    det[0, 2] = torch.tensor([0.1, 0.1, 0.1, 0.1, 0.2, 0.8])
    found = best_boxes(det, 100, most=3)[0]
    assert found[0].tolist() == pytest.approx([40.0, 20.0, 60.0, 30.0, 0.9, 0.0])
    assert found[1, 4:].tolist() == pytest.approx([0.8, 1.0])
    assert found[2].tolist() == pytest.approx([40.0, 20.0, 60.0, 30.0, 0.3, 1.0])


def apart(ours: Tensor | np.ndarray, theirs: Tensor | np.ndarray) -> tuple[float, float]:
    """Largest differences in pixels and scores, of boxes in any order."""
    pairs = [paired_difference(np.asarray(a), np.asarray(b)) for a, b in zip(ours, theirs, strict=True)]
    return max(px for px, _ in pairs), max(score for _, score in pairs)


def test_the_lowered_network_answers_what_the_trained_one_does() -> None:
    network = stirred(edge_network())
    assert isinstance(network, VMCDETR)
    tiles = torch.randint(0, 256, (2, 3, EDGE_PX, EDGE_PX), dtype=torch.uint8)
    with torch.inference_mode():
        px, score = apart(Deployed(network)(tiles), Deployed(lower(network))(tiles))
    assert px <= 1e-4 * EDGE_PX
    assert score <= 1e-4
    kinds = {type(one).__name__ for one in lower(network).modules()}
    assert not kinds & {"BatchNorm2d", "RepConv", "Spread", "HeatDecay"}


def test_the_graph_answers_what_the_network_answers() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from exporters import graph

    network = stirred(edge_network(layers=2, queries=100))
    assert isinstance(network, VMCDETR)
    deployed = Deployed(lower(network)).eval()
    tiles = np.random.default_rng(0).integers(0, 256, (3, 3, EDGE_PX, EDGE_PX), dtype=np.uint8)
    model = graph.simplify(graph.trace(deployed, edge_px=EDGE_PX, bands=3))
    operations = [node.op_type for node in model.graph.node]
    assert operations.count("GridSample") == 2 * 3
    assert operations.count("TopK") == 2  # the queries, and the answers
    unwanted = {"NonMaxSuppression", "Einsum", "ScatterND", "GatherND", "BatchNormalization", "Exp", "Attention"}
    assert not unwanted & set(operations)
    modes = {
        a.s for node in model.graph.node if node.op_type == "GridSample" for a in node.attribute if a.name == "mode"
    }
    assert modes <= {b"bilinear"}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (answers,) = session.run(None, {session.get_inputs()[0].name: tiles})
    with torch.inference_mode():
        px, score = apart(Deployed(network)(torch.from_numpy(tiles)), answers)
    assert px <= 1e-4 * EDGE_PX
    assert score <= 1e-4


def pictures(*boxes: tuple[float, float, float, float]) -> DetectionSet:
    pixels = np.arange(3 * 100 * 160, dtype=np.int64).astype(np.uint8).reshape(3, 100, 160)
    rows = np.array(boxes, np.float32).reshape(-1, 4)
    none = np.zeros((0, 4), np.float32)
    return DetectionSet("set", (pixels,), (rows,), (np.zeros(len(rows), np.int64),), ("thing",), (none,))


def test_tiles_hold_what_lies_in_them_and_do_not_count_what_is_cut_off() -> None:
    found = cut_tiles(pictures((10, 10, 30, 30), (80, 40, 110, 60)), 100, overlap_px=30)
    assert [one.shape for one in found.images] == [(3, 100, 100), (3, 100, 100)]  # type: ignore[union-attr]
    assert found.boxes[0].tolist() == [[10, 10, 30, 30], [80, 40, 100, 60]]  # two thirds of it show
    assert found.boxes[1].tolist() == [[20, 40, 50, 60]]
    assert len(found.ignored[0]) == len(found.ignored[1]) == 0
    cut = cut_tiles(pictures((90, 40, 120, 60)), 100, overlap_px=30)
    assert [len(one) for one in cut.boxes] == [0, 1]
    assert cut.ignored[0].tolist() == [[90, 40, 100, 60]]
    assert len(cut_tiles(pictures((90, 40, 120, 60)), 100, overlap_px=30, empty=False)) == 1


def test_the_course_trains_either_network_on_real_aircraft(data_dir: Path) -> None:
    root = data_dir / "gdit-aerial-airport"
    if not root.is_dir():
        pytest.skip("needs DATA: gdit-aerial-airport")

    settings: dict[str, Any] = {"edge_px": 64, "batch": 2, "held_frac": 0.02, "queries": 40, "copies": 20}
    made = course_of("rtdetr_r18", root, size="edge", seed=0, **settings)
    assert made.switches == {"classes": 1, "edge_px": 64, "queries": 40}
    assert made.describe().notes["copies"] == 20
    network = made.build()
    batch = next(iter(made.batches(0)))
    assert batch["image"].shape == (2, 3, 64, 64)
    assert torch.equal(batch["image"], next(iter(made.batches(0)))["image"])
    assert float(made.loss(network.train(), batch)["loss"].detach()) > 0
    with torch.no_grad():
        scores = made.validate(network.eval())
    assert 0.0 <= scores["ap50_95"] <= 1.0
    assert made.describe().classes == ("airplane",)
