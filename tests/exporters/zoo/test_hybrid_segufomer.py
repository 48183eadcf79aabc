"""Hybrid-SegUFormer against its card: counts, shapes, losses by hand, attention in strips, translation, parity."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from exporters.errors import ExporterError
from exporters.graph import count_macs_of
from exporters.metrics.change import Counts
from exporters.registry import build_network, networks
from exporters.zoo.hybrid_segufomer import HybridSegUFormer, attend, segmenter
from exporters.zoo.hybrid_segufomer_deploy import DeformationMask
from exporters.zoo.hybrid_segufomer_loss import Teacher, move_teacher, segmentation_loss
from exporters.zoo.hybrid_segufomer_operations import published_operations


def params(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_and_operations_are_those_of_the_card() -> None:
    with torch.device("meta"):
        network, unet = HybridSegUFormer().eval(), segmenter(baseline="unet").eval()
        assert params(network) == 12_552_513
        assert params(HybridSegUFormer(depths=(2, 2, 2, 2), raw=False)) == 12_584_065
        assert params(unet) == 7_765_985
        image = torch.zeros(1, 3, 256, 256)
        assert published_operations(network, image) / 1e9 == pytest.approx(32.556, rel=1e-3)
        assert published_operations(unet, image) / 1e9 == pytest.approx(13.746, rel=1e-3)
        assert count_macs_of(network, (3, 256, 256)) / 1e9 == pytest.approx(74.5, rel=1e-3)
        assert params(build_network("hybrid_segufomer", size="edge")) == 789_585
    assert networks()["hybrid_segufomer"].kind == "mask"


def test_every_map_has_the_size_of_the_card() -> None:
    with torch.device("meta"), torch.inference_mode():
        network, image = HybridSegUFormer().eval(), torch.zeros(1, 3, 64, 64)
        features, x = [], image
        for stage in network.encoder:
            x = stage(x)
            features.append(x)
        assert [tuple(f.shape[1:]) for f in features] == [(64, 32, 32), (128, 16, 16), (320, 8, 8), (512, 4, 4)]
        maps = network.decode(features, image)
        assert [tuple(m.shape[1:]) for m in maps] == [(320, 8, 8), (128, 16, 16), (64, 32, 32), (64, 64, 64)]
        for edge in (64, 128, 256):
            assert network(torch.zeros(2, 3, edge, edge)).shape == (2, 1, edge, edge)
        with pytest.raises(ValueError, match=r"multiples of 16, not 64 x 72"):
            network(torch.zeros(1, 3, 64, 72))


def test_attention_in_strips_is_the_same_attention() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 100, 8) for _ in range(3))
    for chunk in (1, 32, 99, 100):
        torch.testing.assert_close(attend(query, key, value, chunk), attend(query, key, value), atol=1e-6, rtol=0)
    whole, strips = HybridSegUFormer(8, chunk=0).eval(), HybridSegUFormer(8, chunk=100).eval()
    strips.load_state_dict(whole.state_dict())
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(strips(image), whole(image), atol=1e-6, rtol=0)


def test_strips_never_hold_the_whole_matrix_of_scores() -> None:
    sizes: list[int] = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            answer = func(*args, **(kwargs or {}))
            if isinstance(answer, Tensor):
                sizes.append(answer.numel())
            return answer

    query = torch.randn(1, 1, 1024, 4)
    with Watch():
        attend(query, query, query, 64)
    assert max(sizes) == 64 * 1024


def test_the_loss_is_the_cards() -> None:
    student, teacher, truth = (torch.tensor(v) for v in ([2.0, -1.0, 0.0], [1.0, -2.0, 0.0], [1.0, 0.0, 1.0]))
    assert float(segmentation_loss(student, truth)) == pytest.approx(0.377779, abs=1e-6)
    assert float(segmentation_loss(student, truth, teacher=teacher)) == pytest.approx(0.379274, abs=1e-6)
    padded = [torch.cat([x, torch.tensor([9.0])]) for x in (student, teacher, truth)]
    known = torch.tensor([True, True, True, False])
    masked = segmentation_loss(padded[0], padded[2], teacher=padded[1], valid=known)
    assert float(masked) == pytest.approx(0.379274, abs=1e-6)


def test_the_teacher_follows_its_student_and_is_never_trained() -> None:
    teacher, student = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.constant_(teacher.weight, 1.0)
    for value, expected in ((3.0, 1.02), (5.0, 1.0598)):
        nn.init.constant_(student.weight, value)
        move_teacher(teacher, student, 0.99)
        assert float(teacher.weight.detach()) == pytest.approx(expected, abs=1e-6)
    follower, network = Teacher(), HybridSegUFormer(8)
    copied = follower.step(network)
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    assert not any("teacher" in key for key in network.state_dict())
    before = float(copied.state_dict()["head.bias"])
    nn.init.constant_(network.state_dict()["head.bias"], before + 1.0)
    follower.step(network)
    assert float(copied.state_dict()["head.bias"]) == pytest.approx(before + 0.5)


def test_there_are_no_positions_and_a_shifted_image_has_a_shifted_answer() -> None:
    torch.manual_seed(0)
    network = HybridSegUFormer(16).eval()
    assert not any("position" in key for key in network.state_dict())
    coarse = torch.rand(1, 3, 12, 12)
    image = nn.functional.interpolate(coarse, size=(192, 192), mode="bicubic").clamp(0, 1)
    with torch.inference_mode():
        answer = network(image)
        moved = network(image.roll((16, 16), (2, 3)))
    middle = slice(64, 128)
    one = answer[0, 0, middle, middle].flatten()
    other = moved.roll((-16, -16), (2, 3))[0, 0, middle, middle].flatten()
    assert float(torch.corrcoef(torch.stack([one, other]))[0, 1]) >= 0.95


@pytest.mark.parametrize("switches", [{"multi_scale": False}, {"encoder": "convolution"}, {"raw": False}])
def test_every_ablation_keeps_the_shape(switches: dict[str, object]) -> None:
    with torch.inference_mode():
        assert HybridSegUFormer(8, **switches).eval()(torch.zeros(1, 3, 32, 48)).shape == (1, 1, 32, 48)  # type: ignore[arg-type]


def test_unknown_switches_are_refused() -> None:
    with pytest.raises(ExporterError, match="no baseline 'vgg'"):
        build_network("hybrid_segufomer", baseline="vgg")
    with pytest.raises(ExporterError, match="no encoder 'swin'"):
        build_network("hybrid_segufomer", encoder="swin")


def test_onnx_runtime_answers_as_torch_does_and_black_is_no_data() -> None:
    import onnxruntime

    torch.manual_seed(0)
    mask = DeformationMask(HybridSegUFormer(16, chunk=256)).eval()
    tiles = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64)).astype(np.uint8)
    tiles[:, :, :10] = 0
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the older exporter is much faster, and says that it is old
        torch.onnx.export(
            mask, (torch.from_numpy(tiles),), file, dynamo=False, opset_version=18,
            input_names=["tiles"], output_names=["scores"], dynamic_axes={"tiles": {0: "n"}},
        )  # fmt: skip
        expected = mask(torch.from_numpy(tiles)).numpy()
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    answers = session.run(None, {"tiles": tiles})[0]
    assert np.abs(answers - expected).max() <= 1e-4
    assert float(np.mean(answers.argmax(1) == expected.argmax(1))) >= 0.9999
    assert (answers[:, 0, :10] == 1.0).all()


def test_four_synthetic_images_are_learned_by_heart() -> None:
    rng = np.random.default_rng(0)
    images = rng.uniform(0.2, 0.5, (4, 3, 64, 64)).astype(np.float32)
    truth = np.zeros((4, 1, 64, 64), dtype=np.float32)
    for number in range(4):
        top, left = rng.integers(8, 40, 2)
        images[number, :, top : top + 16, left : left + 16] += 0.4
        truth[number, 0, top : top + 16, left : left + 16] = 1.0
    torch.manual_seed(0)
    network, x, y = HybridSegUFormer(16), torch.from_numpy(images), torch.from_numpy(truth)
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    for _ in range(25):
        logits = network(x)
        optimiser.zero_grad()
        segmentation_loss(logits, y).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert Counts.of((logits.detach() > 0).numpy(), truth > 0.5).iou >= 0.9
