"""VMC-DETR (Ge et al., "Enhancing Real-Time Aerial Image Object Detection with High-Frequency Feature Learning and
Context-Aware Fusion", Remote Sensing): RT-DETR with VHeat C2f, MFADM and CAGFM.

``backbone="r18", mfadm=False, cagfm=False`` is plain RT-DETR-R18; each switch alone is a row of the paper's ablation.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from ..errors import ExporterError
from .vmc_detr_backbone import BACKBONES, make_backbone
from .vmc_detr_blocks import AIFI, Attention, place_embedding
from .vmc_detr_decoder import Decoder, Denoising, Heads
from .vmc_detr_neck import KERNELS, AggregationNeck, PanNeck
from .vmc_detr_vheat import HeatConduction
from .yolo_blocks import channels_of

STRIDES_PX = (8, 16, 32)
QUERIES = 300
HEADS, LAYERS = 8, 3


class VMCDETR(nn.Module):
    """Detector without anchors to choose and without suppression. Input (n, 3, edge_px, edge_px) float32 0..1.

    Answers (n, queries, 4 + classes): cx, cy, w, h as fractions of the input, then the scores of all classes. The
    input's size is fixed: the frequency value embeddings are as large as the maps (see ``resize``).
    """

    def __init__(
        self,
        classes: int = 10,
        *,
        edge_px: int = 640,
        width: float = 1.0,
        backbone: str = "vheat",
        mfadm: bool = True,
        cagfm: bool = True,
        kernels: Sequence[int] = KERNELS,
        queries: int = QUERIES,
        layers: int = LAYERS,
    ) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise ExporterError(f"There is no backbone {backbone!r}. Use one of {BACKBONES}.")
        if classes < 1:
            raise ExporterError(f"A detector of {classes} classes finds nothing. Give at least one.")
        if queries < 1:
            raise ExporterError(
                f"A detector of {queries} queries finds nothing. Give at least one; the paper has {QUERIES}."
            )
        self.classes, self.edge_px = classes, _whole(edge_px)
        self.width, self.queries, self.depth = width, queries, layers
        edges = tuple(edge_px // stride_px for stride_px in STRIDES_PX)
        channels = channels_of(256, width)
        self.backbone = make_backbone(backbone, width, edge_px)
        widths = self.backbone.channels
        self.neck: AggregationNeck | PanNeck
        if mfadm or cagfm:
            self.neck = AggregationNeck(
                widths, channels, HEADS, edges[-1], kernels=tuple(kernels) if mfadm else (), gate=cagfm
            )
        else:
            self.neck = PanNeck(widths, channels, HEADS, edges[-1])
        self.decoder = Decoder(classes, channels, HEADS, edges, queries=queries, layers=layers)

    def heads(self, image: Tensor, denoising: Denoising | None = None) -> Heads:
        """What every layer answers, for the loss."""
        check_size(image, self.edge_px)
        answers: Heads = self.decoder(self.neck(*self.backbone(image)), denoising)
        return answers

    def forward(self, image: Tensor) -> Tensor:
        """(n, queries, 4 + classes) of the last layer."""
        found = self.heads(image)
        return torch.cat([found.boxes[-1], torch.sigmoid(found.logits[-1])], -1)

    def resize(self, edge_px: int) -> VMCDETR:
        """The same weights for inputs of another size; this network is left as it is. An engine must be built anew."""
        other = copy.deepcopy(self)
        other.edge_px = _whole(edge_px)
        edges = tuple(edge_px // stride_px for stride_px in STRIDES_PX)
        device = next(self.parameters()).device
        for module in other.modules():
            if isinstance(module, HeatConduction):
                stride_px = self.edge_px // len(module.matrix)
                module.resize(edge_px // stride_px)
            if isinstance(module, AIFI):
                module.place = place_embedding(module.place.shape[1], edges[-1]).to(device)
        decoder = Decoder(
            self.classes, channels_of(256, self.width), HEADS, edges, queries=self.queries, layers=self.depth
        )
        decoder.load_state_dict(self.decoder.state_dict())
        other.decoder = decoder.to(device).train(self.training)
        return other


def _whole(edge_px: int) -> int:
    if edge_px < 64 or edge_px % 32:
        raise ExporterError(
            f"The detector takes squares whose side is a multiple of 32 px, 64 or more, not {edge_px}. "
            f"Letterbox to {max(64, -(-edge_px // 32) * 32)}."
        )
    return edge_px


def check_size(image: Tensor, edge_px: int) -> None:
    """Raise ExporterError unless the image is a square of the size that the network was made for."""
    rows, columns = image.shape[2], image.shape[3]
    if rows != edge_px or columns != edge_px:
        raise ExporterError(
            f"This network takes {edge_px} x {edge_px} px, not {rows} x {columns}: its frequency maps have that size. "
            f"Letterbox to it, or call resize."
        )


torch.fx.wrap("check_size")


def stated_gflops(network: nn.Module, *, edge_px: int) -> float:
    """GFLOPs at one input as the authors' framework counts them: where modules are called, two a multiply-accumulate.

    Convolutions, linear layers other than the four within an attention, four operations a normalised value; no products
    of attention, no cosine transforms, no sampling. Works on torch's meta device too.
    """
    macs = 0

    def count(module: nn.Module, _: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal macs
        if isinstance(module, nn.Conv2d):
            macs += out.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            macs += out.numel() * module.in_features
        else:
            macs += 4 * out.numel()

    inner = {id(layer) for one in network.modules() if isinstance(one, Attention) for layer in one.children()}
    kinds = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
    counted = [one for one in network.modules() if isinstance(one, kinds) and id(one) not in inner]
    hooks = [one.register_forward_hook(count) for one in counted]
    try:
        with torch.no_grad():
            network.eval()(torch.zeros((1, 3, edge_px, edge_px), device=next(network.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return 2.0 * macs / 1e9
