"""The three classifiers of the pool; figures at 1000 classes and 224 x 224 px."""

from __future__ import annotations

from typing import Any

from ..registry import Network, Size


def _classifier(params_paper: float, gmacs_paper: float, **names: Any) -> Network:
    size = Size(options={"classes": 1000}, input=(3, 224, 224), params_paper=params_paper, gmacs_paper=gmacs_paper)
    return Network(task="classification", sizes={"published": size}, course="chips:course", **names)


ENTRIES = (
    _classifier(
        5.48e6,
        0.217,
        name="mobilenet_v3_large",
        title="MobileNetV3-Large",
        paper="Howard et al., Searching for MobileNetV3, ICCV 2019",
        module="mobilenet_v3",
        cls="MobileNetV3Large",
    ),
    _classifier(
        3.50e6,
        0.301,
        name="mobilenet_v2",
        title="MobileNetV2",
        paper="Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018",
        module="mobilenet_v2",
        cls="MobileNetV2",
    ),
    _classifier(
        11.69e6,
        1.814,
        name="resnet18",
        title="ResNet18",
        paper="He et al., Deep Residual Learning for Image Recognition, CVPR 2016",
        module="resnet",
        cls="ResNet18",
    ),
)
