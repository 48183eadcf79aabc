"""The networks of the pool by name, with the size and cost that their papers and torchvision state."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import ExporterError

if TYPE_CHECKING:
    from torch import nn

PAPER_EDGE_PX = 224


@dataclass(frozen=True, slots=True)
class Network:
    """One architecture; ``params_paper`` and ``gmacs_paper`` hold at 1000 classes and 224 x 224 px."""

    name: str
    title: str
    paper: str
    params_paper: float
    gmacs_paper: float
    module: str
    cls: str


NETWORKS = {
    network.name: network
    for network in (
        Network(
            "mobilenet_v3_large",
            "MobileNetV3-Large",
            "Howard et al., Searching for MobileNetV3, ICCV 2019",
            5.48e6,
            0.217,
            "mobilenet_v3",
            "MobileNetV3Large",
        ),
        Network(
            "mobilenet_v2",
            "MobileNetV2",
            "Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018",
            3.50e6,
            0.301,
            "mobilenet_v2",
            "MobileNetV2",
        ),
        Network(
            "resnet18",
            "ResNet18",
            "He et al., Deep Residual Learning for Image Recognition, CVPR 2016",
            11.69e6,
            1.814,
            "resnet",
            "ResNet18",
        ),
    )
}


def network_named(name: str) -> Network:
    """The entry of the zoo with that name, or ExporterError naming the ones there are."""
    if name not in NETWORKS:
        raise ExporterError(f"There is no network named {name!r} in the zoo. Use one of {sorted(NETWORKS)}.")
    return NETWORKS[name]


def title_of(name: str) -> str:
    """How a network of the zoo, or a class given as ``module:Class``, is called in titles."""
    return name.rpartition(":")[2] if ":" in name else network_named(name).title


def build_network(name: str, *, classes: int, stem_stride: int = 2) -> nn.Module:
    """A network with fresh weights from torch's current seed. Needs torch.

    ``name`` is one of the zoo, or ``module:Name`` of one's own: a ``torch.nn.Module``, or what makes one. It is given
    what it asks for by name: ``stem_stride``, and ``classes`` or ``num_classes``.
    """
    made: Any = _named(name)
    if not hasattr(made, "state_dict") or isinstance(made, type):
        made = _make(name, made, classes, stem_stride)
    if not hasattr(made, "state_dict"):
        raise ExporterError(f"{name} makes a {type(made).__name__}, not a torch.nn.Module. Name a network.")
    network: nn.Module = made
    return network


def _make(name: str, maker: Any, classes: int, stem_stride: int) -> Any:
    try:
        parameters = inspect.signature(maker).parameters
        open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        wanted = {"stem_stride": stem_stride} if "stem_stride" in parameters else {}
        label = next((word for word in ("classes", "num_classes") if word in parameters), None)
        if label is None and open_ended:
            label = "num_classes"
        return maker(**wanted, **({label: classes} if label else {}))
    except (TypeError, ValueError) as error:
        raise ExporterError(
            f"{name} cannot be made: {error}. Give a class or function that takes at most classes (or num_classes) "
            "and stem_stride."
        ) from error


def _named(name: str) -> Any:
    if ":" not in name:
        entry = network_named(name)
        return getattr(import_module(f".zoo.{entry.module}", __package__), entry.cls)
    module, _, attribute = name.rpartition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ExporterError(f"There is no network at {name!r}: {error}. Write it as module:Class.") from error
