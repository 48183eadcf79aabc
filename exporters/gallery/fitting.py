"""Gaussians fitted to pictures: 0.8 L1 + 0.2 (1 - SSIM), by torch, with any differentiable rasteriser.

``dense`` holds every Gaussian against every pixel, for tests and toys on the CPU; ``gsplat_rasteriser`` is gsplat's, on
CUDA. Densification is not done: the cloud keeps the Gaussians that it starts with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from .gaussians import Gaussians
from .splatter import BLUR_PX2, LEAST_ALPHA, MOST_ALPHA, Camera

if TYPE_CHECKING:
    from torch import Tensor

Rasteriser = Callable[[Mapping[str, "Tensor"], Camera], "Tensor"]
"""Tensors by the names of ``tensors`` to a picture (3, rows, cols)."""
L1_SHARE = 0.8
RATES = {"mean_m": 2e-3, "colour": 2e-2, "opacity": 2e-2, "scale_m": 5e-3, "quaternion": 1e-3}


def tensors(gaussians: Gaussians, device: str = "cpu") -> dict[str, Tensor]:
    """The parameters that are fitted: scales as logarithms, opacities as logits, colours as they are."""
    import torch

    clear = np.clip(gaussians.opacity, 1e-4, 1 - 1e-4)
    values = {
        "mean_m": gaussians.mean_m,
        "scale_m": np.log(gaussians.scale_m),
        "quaternion": gaussians.quaternion,
        "opacity": np.log(clear / (1 - clear)),
        "colour": gaussians.colour,
    }
    return {key: torch.tensor(value, dtype=torch.float32, device=device) for key, value in values.items()}


def gaussians_of(values: Mapping[str, Tensor]) -> Gaussians:
    """The other way round."""
    plain = {key: value.detach().double().cpu().numpy() for key, value in values.items()}
    opacity = 1.0 / (1.0 + np.exp(-plain["opacity"]))
    colour = np.clip(plain["colour"], 0.0, 1.0)
    return Gaussians(plain["mean_m"], np.exp(plain["scale_m"]), plain["quaternion"], opacity, colour)


def fit(
    start: Gaussians,
    pictures: Sequence[tuple[NDArray[np.uint8], Camera]],
    *,
    steps: int,
    rasterise: Rasteriser | None = None,
    fitted: Sequence[str] = tuple(RATES),
    device: str = "cpu",
    seed: int = 0,
    rate: float = 1.0,
) -> tuple[Gaussians, list[float]]:
    """Fit to pictures, (3, rows, cols) uint8 with their cameras; the L1 of each step beside the result.

    ``fitted``: which parameters move; ``rate`` scales their rates. Raises ``DatasetError`` for no pictures or NaN.
    """
    import torch

    if not pictures:
        raise DatasetError("Gaussians need pictures to be fitted to. Give at least one with its camera.")
    draw = rasterise or dense
    values = tensors(start, device)
    groups = [{"params": [values[key].requires_grad_(True)], "lr": rate * RATES[key]} for key in fitted]
    adam = torch.optim.Adam(groups, eps=1e-15)
    order, curve = np.random.default_rng(seed), []
    for _ in range(steps):
        pixels, camera = pictures[int(order.integers(len(pictures)))]
        wanted = torch.from_numpy(pixels.astype(np.float32) / 255.0).to(device)
        drawn = draw(values, camera)
        loss, apart = picture_loss(drawn, wanted)
        if not bool(torch.isfinite(loss)):
            raise DatasetError(f"The fit of {len(start)} Gaussians went to values that are no number. Lower the rate.")
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        curve.append(float(apart.detach()))
    return gaussians_of(values), curve


def picture_loss(drawn: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """0.8 L1 + 0.2 (1 - SSIM) of (3, rows, cols) of 0..1, and the L1 alone. SSIM in windows of 7 px, all alike."""
    import torch.nn.functional as F

    apart = (drawn - wanted).abs().mean()
    one, two = drawn[None], wanted[None]
    mean = [F.avg_pool2d(picture, 7, 1) for picture in (one, two)]
    square = [F.avg_pool2d(a * b, 7, 1) for a, b in ((one, one), (two, two), (one, two))]
    var = [square[0] - mean[0] ** 2, square[1] - mean[1] ** 2, square[2] - mean[0] * mean[1]]
    c1, c2 = 0.01**2, 0.03**2
    above = (2 * mean[0] * mean[1] + c1) * (2 * var[2] + c2)
    ssim = (above / ((mean[0] ** 2 + mean[1] ** 2 + c1) * (var[0] + var[1] + c2))).mean()
    return L1_SHARE * apart + (1 - L1_SHARE) * (1 - ssim), apart


def dense(values: Mapping[str, Tensor], camera: Camera) -> Tensor:
    """Every Gaussian on every pixel, as ``splatter.draw`` but without its cut: (3, rows, cols) over black."""
    import torch

    axes, place = (torch.from_numpy(part).float() for part in (camera.axes, camera.place_m))
    x, y, depth = ((values["mean_m"] - place) @ axes.T).unbind(1)
    kept = depth > 0.2
    z = depth.clamp(min=0.2)
    zero, focal = torch.zeros_like(x), camera.focal_px
    jacobian = torch.stack(
        [torch.stack([focal / z, zero, -focal * x / z**2], 1), torch.stack([zero, focal / z, -focal * y / z**2], 1)], 1
    )
    seen = jacobian @ axes @ _turn(values["quaternion"]) * values["scale_m"].exp()[:, None, :]
    covariance = seen @ seen.transpose(1, 2)
    a, b, c = covariance[:, 0, 0] + BLUR_PX2, covariance[:, 0, 1], covariance[:, 1, 1] + BLUR_PX2
    cols, rows = torch.arange(camera.cols).float(), torch.arange(camera.rows).float()
    u = (cols[None] - (focal * x / z + (camera.cols - 1) / 2)[:, None])[:, None, :]
    v = (rows[None] - (focal * y / z + (camera.rows - 1) / 2)[:, None])[:, :, None]
    a, b, c = (part[:, None, None] for part in (a, b, c))
    within = (c * u * u - 2 * b * u * v + a * v * v) / (a * c - b * b)
    alpha = values["opacity"].sigmoid()[:, None, None] * torch.exp(-0.5 * within) * kept[:, None, None]
    alpha = torch.where(alpha < LEAST_ALPHA, torch.zeros(()), alpha.clamp(max=MOST_ALPHA))[depth.argsort(stable=True)]
    passed = torch.cumprod(torch.cat([torch.ones_like(alpha[:1]), 1 - alpha[:-1]]), 0)
    out: Tensor = torch.einsum("nhw,nc->chw", alpha * passed, values["colour"][depth.argsort(stable=True)])
    return out


def gsplat_rasteriser(values: Mapping[str, Tensor], camera: Camera) -> Tensor:
    """gsplat's rasteriser (extra ``splat``), on the CUDA device that ``values`` lie on."""
    import torch

    gsplat = needed("gsplat")
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = camera.axes, -camera.axes @ camera.place_m
    lens = [[camera.focal_px, 0, camera.cols / 2], [0, camera.focal_px, camera.rows / 2], [0, 0, 1]]
    device = values["mean_m"].device
    drawn, _, _ = gsplat.rasterization(
        values["mean_m"],
        values["quaternion"],
        values["scale_m"].exp(),
        values["opacity"].sigmoid(),
        values["colour"],
        torch.tensor(world, dtype=torch.float32, device=device)[None],
        torch.tensor(lens, dtype=torch.float32, device=device)[None],
        camera.cols,
        camera.rows,
    )
    out: Tensor = drawn[0].permute(2, 0, 1)
    return out


def needed(library: str) -> Any:
    """An optional library, or ``DatasetError`` that says how to get it."""
    from importlib import import_module

    try:
        return import_module(library)
    except ImportError as error:
        raise DatasetError(f"This needs {library}. Install it with: pip install 'subsolar[splat]'.") from error


def _turn(quaternion: Tensor) -> Tensor:
    import torch

    w, x, y, z = (quaternion / quaternion.norm(dim=1, keepdim=True)).unbind(1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], 1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], 1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], 1),
    ]
    return torch.stack(rows, 1)
