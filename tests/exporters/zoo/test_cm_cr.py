"""CM-CR: cost, scalings, losses by hand, the sampler's promises, and one step as a graph."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253

from exporters.courses.cm_cr import one_step
from exporters.errors import ExporterError, ExportError
from exporters.graph import count_macs_of, serialise, simplify, trace
from exporters.onnx_cpu import inferrer
from exporters.registry import build_network
from exporters.zoo.cm_cr import CMCR, scalings
from exporters.zoo.cm_cr_deploy import OneStep, deploy
from exporters.zoo.cm_cr_loss import distillation_loss, heun_step, teacher_loss
from exporters.zoo.cm_cr_sampler import (
    Sampling,
    fill,
    noise_at,
    scale_optical,
    scale_radar,
    step_levels,
    unscale_optical,
)

SMALL: dict[str, Any] = {"width": 32, "multipliers": (1, 2), "blocks": 1, "attention_at": (2,)}
TABLE = [80, 51.8803, 32.6969, 19.9456, 11.7185, 6.5901, 3.5197, 1.7672, 0.8229, 0.3489, 0.1312, 0.0421, 0.0108]


def network(seed: int = 0, **options: Any) -> CMCR:
    """A small one whose every path carries something."""
    torch.manual_seed(seed)
    made = CMCR(**{**SMALL, **options}).eval()
    with torch.no_grad():
        for weight in made.parameters():
            if not weight.any():
                weight.normal_(0.0, 0.05)
    return made


def noise_of(rows: int, cols: int, seed: int = 0) -> Callable[[int], Any]:
    place = np.indices((rows, cols))
    return lambda number: noise_at(place[0], place[1], seed=seed, step=number)


@pytest.mark.parametrize(
    ("size", "params", "gmacs"),
    [("published", 715_833_091, 1458.0), ("edge", 34_615_107, 71.3), ("tiny", 15_609_539, 49.5)],
)
def test_parameters_and_cost_are_those_of_the_card(size: str, params: int, gmacs: float) -> None:
    with torch.device("meta"):
        made = build_network("cm_cr", size=size)
        macs = count_macs_of(made, (5, 256, 256))
    assert sum(weight.numel() for weight in made.parameters()) == params
    assert macs / 1e9 == pytest.approx(gmacs, rel=0.02)


def test_the_scalings_are_those_of_the_card() -> None:
    c_skip, c_out, c_in = scalings(torch.tensor([80.0, 1.0]), 0.002)
    assert c_skip.tolist() == pytest.approx([3.906e-5, 0.200641], rel=1e-4)
    assert c_out.tolist() == pytest.approx([0.49998, 0.446319], rel=1e-4)
    assert float(c_in[0]) == pytest.approx(0.0125, rel=1e-4)


def test_the_student_is_the_identity_at_the_lowest_level_and_the_teacher_is_not() -> None:
    x, sar, t = torch.randn(1, 3, 16, 16), torch.randn(1, 2, 16, 16), torch.tensor([0.002])
    with torch.no_grad():
        assert float((network()(x, t, sar) - x).abs().max()) <= 1e-6
        assert float((network(eps_t=0.0)(x, t, sar) - x).abs().max()) > 1e-4


def test_the_radar_matters_unless_it_is_switched_off() -> None:
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([5.0])
    one, other = torch.zeros(1, 2, 16, 16), torch.ones(1, 2, 16, 16)
    with torch.no_grad():
        assert not torch.equal(network()(x, t, one), network()(x, t, other))
        assert torch.equal(network(radar=False)(x, t, one), network(radar=False)(x, t, other))


def test_a_width_that_does_not_fit_the_normalisation_is_refused() -> None:
    with pytest.raises(ExporterError, match="width 48 is no multiple of 32"):
        build_network("cm_cr", size="mini", width=48)


def test_the_teachers_loss_is_what_one_finds_by_hand() -> None:
    ones = torch.ones(2, 3, 4, 4)
    loss = teacher_loss(lambda x, t, sar: x, 0 * ones, 0 * ones[:, :2], ones, torch.tensor([0.5, 1.0]))
    assert float(loss) == pytest.approx((8.0 * 0.25 + 5.0 * 1.0) / 2)  # weights 0.5/0.0625 and 1.25/0.25


def test_a_heun_step_towards_a_constant_is_exact() -> None:
    x, sar = torch.full((1, 3, 2, 2), 4.0), torch.zeros(1, 2, 2, 2)
    to = heun_step(lambda x, t, sar: torch.zeros_like(x), x, torch.tensor([2.0]), torch.tensor([0.5]), sar)
    assert to.flatten().tolist() == pytest.approx([1.0] * 12)


def test_a_heun_step_averages_both_slopes() -> None:
    """D = t: the slope at 2 is (4 - 2) / 2 = 1, Euler comes to 3, where it is (3 - 1) / 1 = 2; 4 - 1.5 = 2.5."""

    def denoise(x: torch.Tensor, t: torch.Tensor, sar: torch.Tensor) -> torch.Tensor:
        return t[:, None, None, None].expand_as(x)

    x = torch.full((1, 3, 1, 1), 4.0)
    to = heun_step(denoise, x, torch.tensor([2.0]), torch.tensor([1.0]), x[:, :2])
    assert to.flatten().tolist() == pytest.approx([2.5] * 3)


def test_the_students_loss_is_what_one_finds_by_hand() -> None:
    zeros, ones = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)

    def same(x: torch.Tensor, t: torch.Tensor, sar: torch.Tensor) -> torch.Tensor:
        return x

    def nothing(x: torch.Tensor, t: torch.Tensor, sar: torch.Tensor) -> torch.Tensor:
        return 0 * x

    levels = torch.tensor([2.0]), torch.tensor([1.0])
    loss = distillation_loss(same, same, nothing, zeros, zeros[:, :2], ones, *levels)
    assert float(loss) == pytest.approx(1.0)  # 2 against the 1 that the teacher comes to


def test_the_steps_are_those_of_the_card() -> None:
    assert step_levels(13).round(4).tolist() == pytest.approx(TABLE, abs=6e-5)


def test_measured_pixels_come_back_bit_for_bit_after_every_step() -> None:
    rng = np.random.default_rng(0)
    cloudy = rng.uniform(-1, 1, (2, 3, 8, 8)).astype(np.float32)
    cloud = rng.random((2, 1, 8, 8)) < 0.3
    sar = np.zeros((2, 2, 8, 8), dtype=np.float32)
    clear, levels = np.broadcast_to(~cloud, cloudy.shape), step_levels(5)
    seen: list[Any] = []

    def step(x: Any, t: float, sar: Any) -> Any:
        seen.append(x.copy())
        return np.full_like(x, 3.0)

    made = fill(step, cloudy, cloud, sar, noise_of(8, 8), steps=5)
    assert (made[clear] == cloudy[clear]).all()
    assert (made[~clear] == 1.0).all()  # clipped
    for number in range(1, 5):
        spread = np.float32(np.sqrt(levels[number] ** 2 - 0.002**2))
        between = paste_of(cloudy, cloud) + spread * noise_of(8, 8)(number)
        assert np.array_equal(seen[number], between)


def paste_of(cloudy: Any, cloud: Any) -> Any:
    return np.where(cloud, np.float32(1.0), cloudy)


def test_without_cloud_the_network_is_not_asked() -> None:
    cloudy = np.random.default_rng(0).uniform(-1, 1, (1, 3, 4, 4)).astype(np.float32)

    def step(x: Any, t: float, sar: Any) -> Any:
        raise AssertionError("asked")

    cloud = np.zeros((1, 1, 4, 4), dtype=bool)
    assert fill(step, cloudy, cloud, cloudy[:, :2], noise_of(4, 4), steps=13) is cloudy


def test_noise_is_normal_and_a_function_of_seed_step_and_place() -> None:
    rows, cols = np.indices((128, 128))
    drawn = noise_at(rows, cols, seed=7, step=3)
    assert drawn.shape == (3, 128, 128)
    assert drawn.dtype == np.float32
    assert float(drawn.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(drawn.std()) == pytest.approx(1.0, abs=0.02)
    assert float((drawn**4).mean()) == pytest.approx(3.0, abs=0.2)
    assert abs(float(np.corrcoef(drawn[0, :, 1:].ravel(), drawn[0, :, :-1].ravel())[0, 1])) < 0.03
    assert abs(float(np.corrcoef(drawn[0].ravel(), drawn[1].ravel())[0, 1])) < 0.03
    assert np.array_equal(noise_at(rows + 40, cols + 9, seed=7, step=3)[:, :50, :50], drawn[:, 40:90, 9:59])
    for other in (noise_at(rows, cols, seed=8, step=3), noise_at(rows, cols, seed=7, step=4)):
        assert abs(float(np.corrcoef(other.ravel(), drawn.ravel())[0, 1])) < 0.03


def test_scales_are_those_of_the_card_and_go_back() -> None:
    assert scale_optical(np.array([0.0, 5000.0, 10000.0, 16000.0])).tolist() == [-1.0, 0.0, 1.0, 1.0]
    assert unscale_optical(np.array([-1.0, 0.0, 1.0])).tolist() == [0.0, 5000.0, 10000.0]
    sar = np.array([-12.5, -16.25])[:, None, None]
    assert scale_radar(sar).ravel().tolist() == [0.0, 0.0]
    assert scale_radar(sar * 10).ravel().tolist() == [-1.0, -1.0]


@pytest.mark.parametrize("given", [{"steps": 0}, {"seed": -1}, {"most_cloud_frac": 0.0}])
def test_a_sampling_that_makes_no_sense_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ExportError, match="is not possible"):
        Sampling(**given)


@pytest.fixture(scope="module")
def exported() -> tuple[CMCR, Callable[[Any], Any], Any]:
    made = network(seed=3)
    model = simplify(trace(OneStep(made).eval(), edge_px=16, bands=6, dtype="float32", output="answers"))
    return made, inferrer(serialise(model)), model


def fed(level: float, count: int = 2) -> Any:
    rng = np.random.default_rng(int(level * 1e4))
    tiles = rng.standard_normal((count, 6, 16, 16)).astype(np.float32)
    tiles[:, :3] *= level
    tiles[:, 3:5] = 8.0 * tiles[:, 3:5] - 14.0  # some of it is clipped
    tiles[:, 5] = level
    return tiles


@pytest.mark.parametrize("level", [80.0, 5.0, 0.3, 0.0108])
def test_one_step_of_the_graph_answers_as_the_network(exported: Any, level: float) -> None:
    made, infer, _ = exported
    tiles = fed(level)
    with torch.no_grad():
        expected = made(
            torch.from_numpy(tiles[:, :3]), torch.full((2,), level), torch.from_numpy(scale_radar(tiles[:, 3:5]))
        ).numpy()
    assert np.abs(infer(tiles) - expected).max() <= 1e-4


def test_the_whole_loop_comes_to_the_same_with_either_engine(exported: Any) -> None:
    made, infer, _ = exported
    rng = np.random.default_rng(1)
    cloudy, sar_db = rng.uniform(-1, 1, (1, 3, 16, 16)).astype(np.float32), fed(1.0, 1)[:, 3:5]
    cloud = np.zeros((1, 1, 16, 16), dtype=bool)
    cloud[..., 4:12, 4:12] = True

    def graph(x: Any, t: float, sar: Any) -> Any:
        return infer(np.concatenate([x, sar, np.full_like(x[:, :1], t)], axis=1))

    by_graph = fill(graph, cloudy, cloud, sar_db, noise_of(16, 16), steps=13)
    by_torch = fill(one_step(made), cloudy, cloud, scale_radar(sar_db), noise_of(16, 16), steps=13)
    assert np.abs(by_graph - by_torch).max() <= 1e-3
    assert not np.array_equal(by_graph, cloudy)


def test_the_graph_holds_nothing_that_engines_stumble_over(exported: Any) -> None:
    _, _, model = exported
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"Loop", "If", "RandomNormal", "RandomNormalLike", "GroupNormalization", "ScatterND"}
    for node in model.graph.node:
        if node.op_type == "Resize":
            told = {one.name: one.s.decode() for one in node.attribute if one.type == 3}
            assert told["mode"] == "nearest"
            assert told["coordinate_transformation_mode"] in ("asymmetric", "half_pixel")


def test_a_teacher_or_a_tile_of_the_wrong_size_is_not_deployed() -> None:
    told: Any = SimpleNamespace(edge_px=16)
    with pytest.raises(ExportError, match="teacher, which is no sampler"):
        deploy(network(eps_t=0.0), told)
    told.edge_px = 15
    with pytest.raises(ExportError, match=r"15 px do not fit.*multiple of 2"):
        deploy(network(), told)


def test_a_few_steps_bring_the_teacher_down_short_form() -> None:
    """The long form, acceptance 7 and 8, is part of `make bench-zoo-cm-cr`."""
    torch.manual_seed(0)
    teacher = CMCR(**SMALL, eps_t=0.0).train()
    x, sar = torch.rand(2, 3, 16, 16) * 0.5, torch.zeros(2, 2, 16, 16)
    optimiser = torch.optim.Adam(teacher.parameters(), lr=2e-3)
    losses = []
    for _ in range(20):
        z, t = torch.randn(2, 3, 16, 16), torch.tensor([0.3, 1.0])
        loss = teacher_loss(teacher, x, sar, z, t)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.5 * losses[0]
