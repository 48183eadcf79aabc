"""SDENet against its card: counts, hand-computed losses, randomness, parity, odd inputs."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch  # noqa: TID253

from exporters.checkpoint import Checkpoint
from exporters.metrics.anomaly import mahalanobis
from exporters.registry import build_network, networks
from exporters.zoo.sdenet import SDENet
from exporters.zoo.sdenet_deploy import deploy
from exporters.zoo.sdenet_loss import gradient_magnitude, similarity_loss, with_holes
from exporters.zoo.sdenet_operations import convolution_macs, published_operations


def params(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def small(**switches: object) -> SDENet:
    torch.manual_seed(0)
    return SDENet(10, 8, 4, **switches)  # type: ignore[arg-type]


def test_parameters_are_those_of_the_card_for_every_published_variant() -> None:
    assert params(SDENet()) == 342_368
    assert params(SDENet(variational=False)) == 463_648
    assert params(SDENet(224)) == 442_592
    assert params(SDENet(189)) == 422_432
    assert [params(SDENet(latent=latent)) for latent in (16, 64)] == [336_192, 354_720]
    assert params(SDENet(block="swin")) == pytest.approx(0.51e6, rel=0.01)


def test_operations_counted_as_the_paper_counts_them_are_the_papers() -> None:
    cubes = torch.zeros(1, 50, 64, 64)
    assert 16 * published_operations(SDENet().train(), cubes) / 1e6 == pytest.approx(8363.41, rel=1e-4)
    assert 16 * published_operations(SDENet(variational=False).train(), cubes) / 1e6 == pytest.approx(8990.47, rel=1e-4)
    assert convolution_macs(SDENet().eval(), cubes) / 1e6 == pytest.approx(454, rel=0.002)


def test_the_zoo_builds_both_sizes_by_name() -> None:
    assert params(build_network("sdenet")) == 342_368
    assert params(build_network("sdenet", size="edge")) < 110_000
    assert networks()["sdenet"].kind == "map"


def test_a_ramp_gives_the_gradients_and_losses_of_the_card() -> None:
    ramp = (torch.arange(64) * 0.1).expand(1, 1, 64, 64)
    flat = torch.zeros_like(ramp)
    expected = {"sum": (0.291548, 0.459459, 0.103030, 0.828214), "mean": (0.145774, 0.175258, 0.041975, 0.664180)}
    for over, (magnitude, one_scale, half, five) in expected.items():
        assert float(gradient_magnitude(ramp, over=over).mean()) == pytest.approx(magnitude, abs=1e-5)
        assert float(similarity_loss(ramp, flat, scales=1, over=over)) == pytest.approx(one_scale, abs=1e-5)
        assert float(similarity_loss(ramp, ramp / 2, scales=1, over=over)) == pytest.approx(half, abs=1e-5)
        assert float(similarity_loss(ramp, flat, over=over)) == pytest.approx(five, abs=1e-5)
        assert float(similarity_loss(ramp, ramp, over=over)) == 0.0


def test_the_loss_of_a_flat_cube_has_finite_gradients() -> None:
    cube = torch.zeros(1, 2, 64, 64, requires_grad=True)
    similarity_loss(cube, torch.ones(1, 2, 64, 64)).backward()
    assert cube.grad is not None
    assert torch.isfinite(cube.grad).all()


def test_noise_is_only_in_training_and_follows_the_seed() -> None:
    network, cube = small(), torch.rand(1, 10, 16, 16) * 0.1

    def run(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        with torch.no_grad():
            return network(cube)  # type: ignore[no-any-return]

    network.train()
    assert not torch.equal(run(0), run(1))
    assert torch.equal(run(0), run(0))
    network.eval()
    assert torch.equal(run(0), run(1))


@pytest.mark.parametrize(
    "switches", [{"block": "swin"}, {"block": "none"}, {"variational": False}, {"global_residual": True}]
)
def test_every_switch_keeps_the_shape(switches: dict[str, object]) -> None:
    with torch.inference_mode():
        assert small(**switches).eval()(torch.zeros(2, 10, 24, 16)).shape == (2, 10, 24, 16)


def test_an_unknown_block_is_refused() -> None:
    with pytest.raises(ValueError, match="cswin"):
        small(block="resnet")


def test_positions_inside_one_pixel_stripes_are_those_of_padded_stripes() -> None:
    lepe = small().enc0.vertical.lepe  # type: ignore[union-attr]
    v = torch.rand(1, 4, 6, 5)
    columns = torch.cat(
        [torch.nn.functional.conv2d(v[..., c : c + 1], lepe.weight, lepe.bias, padding=1, groups=4) for c in range(5)],
        3,
    )  # type: ignore[union-attr, arg-type]
    assert torch.allclose(lepe(v), columns, atol=1e-6)  # type: ignore[operator]


def test_holes_are_few_small_and_follow_the_generator() -> None:
    cubes = torch.ones(3, 4, 64, 64)
    punched = with_holes(cubes, torch.Generator().manual_seed(3))
    assert torch.equal(punched, with_holes(cubes, torch.Generator().manual_seed(3)))
    holes = (punched == 0).sum((2, 3))
    assert torch.equal(holes[:, 0], holes[:, 3])
    assert int(holes.min()) >= 3
    assert int(holes.max()) <= 32 * 20


def test_eight_masked_cubes_are_learned_five_times_better_in_a_hundred_steps() -> None:
    torch.manual_seed(1)
    low_rank = torch.einsum("nkyx,kb->nbyx", torch.rand(8, 3, 4, 4), torch.rand(3, 10))
    cubes = 0.2 * torch.nn.functional.interpolate(low_rank, size=32, mode="bilinear") / low_rank.max() - 0.1
    holed, network = with_holes(cubes, torch.Generator().manual_seed(0), most=4), SDENet(10, 16, 8)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(100):
        loss = similarity_loss(network(holed), cubes, scales=3)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] * 5 <= losses[0]


def checkpoint_of(network: SDENet) -> Checkpoint:
    bands = network.bands
    return Checkpoint(
        network="sdenet",
        switches={},
        kind="map",
        classes=("anomaly",),
        bands=tuple(f"band_{n}" for n in range(bands)),
        edge_px=64,
        mean=(1000.0,) * bands,
        std=(10000.0,) * bands,
        dtype="float32",
        state_dict=network.state_dict(),
        notes={},
    )


@pytest.mark.parametrize("opset", [18, 20])
def test_onnx_runtime_reconstructs_as_torch_does_at_any_batch(opset: int) -> None:
    import onnxruntime

    torch.manual_seed(0)
    network = SDENet().eval()
    cubes = torch.rand(8, 50, 64, 64) * 0.2 - 0.1
    file = io.BytesIO()
    with torch.inference_mode():
        expected = network(cubes).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older exporter is much faster, and says that it is old
        torch.onnx.export(
            network, (cubes[:2],), file, dynamo=False, opset_version=opset,
            input_names=["hsi"], output_names=["background"], dynamic_axes={"hsi": {0: "n"}},
        )  # fmt: skip
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    answers = session.run(None, {"hsi": cubes.numpy()})[0]
    assert np.abs(answers - expected).max() <= 5e-6
    assert np.array_equal(answers, session.run(None, {"hsi": cubes.numpy()})[0])
    for batch in (1, 5):
        assert np.abs(session.run(None, {"hsi": cubes[:batch].numpy()})[0] - expected[:batch]).max() <= 5e-6


def test_the_deployed_score_is_the_mahalanobis_distance_of_the_residual() -> None:
    from exporters.metrics.anomaly import whitening_of

    network = small().eval()
    raw = torch.rand(1, 10, 24, 24) * 2000
    hsi = (raw - 1000) / 10000
    with torch.inference_mode():
        residual = (hsi - network(hsi))[0].numpy()
    found = whitening_of(residual)
    network.set_background(torch.from_numpy(found.mean), torch.from_numpy(found.matrix))
    with torch.inference_mode():
        score = deploy(network, checkpoint_of(network))(raw)[0, 0].numpy()
    assert score.shape == (24, 24)
    np.testing.assert_allclose(score, mahalanobis(residual), rtol=2e-3, atol=1e-3)
