"""SDENet's training signal: gradient magnitudes that should agree at several scales, and holes in the input.

specs/02-sdenet.md, section 3: multi-scale gradient-magnitude similarity, no divergence term.
"""

from __future__ import annotations

import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253
from torch.nn import functional  # noqa: TID253

_SOBEL = (
    ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0)),
    ((1.0, 2.0, 1.0), (0.0, 0.0, 0.0), (-1.0, -2.0, -1.0)),
    ((2.0, 1.0, 0.0), (1.0, 0.0, -1.0), (0.0, -1.0, -2.0)),
    ((0.0, -1.0, -2.0), (1.0, 0.0, -1.0), (2.0, 1.0, 0.0)),
)
"""Along x, y, 45 and 135 degrees."""
_STEADY = 0.1
"""The constant c of the similarity."""


def gradient_magnitude(x: Tensor, *, over: str = "sum") -> Tensor:
    """(n, bands, rows - 2, cols - 2): root of the ``sum`` or ``mean`` of four squared Sobel responses, kernels / 4."""
    if over not in ("sum", "mean"):
        raise ValueError(f"Directions cannot be joined by {over!r}. Use 'sum' or 'mean'.")
    bands = x.shape[1]
    kernels = torch.tensor(_SOBEL, dtype=x.dtype, device=x.device)[:, None] / 4
    found = functional.conv2d(x.reshape(-1, 1, *x.shape[2:]), kernels).square()
    joined = found.sum(1) if over == "sum" else found.mean(1)
    return torch.sqrt(joined + 1e-12).reshape(-1, bands, *joined.shape[1:])  # its slope at 0 is infinite otherwise


def similarity_loss(
    reconstructed: Tensor, target: Tensor, *, scales: int = 5, over: str = "sum", band_mean: bool = False
) -> Tensor:
    """1 - GMS, averaged over pixels, bands and ``scales`` halvings of (n, bands, rows, cols).

    ``band_mean`` compares the band averages instead. The smallest scale must have at least 3 px.
    """
    x, y = (part.mean(1, keepdim=True) if band_mean else part for part in (reconstructed, target))
    total = x.new_zeros(())
    for scale in range(scales):
        if scale:
            x, y = functional.avg_pool2d(x, 2), functional.avg_pool2d(y, 2)
        gx, gy = gradient_magnitude(x, over=over), gradient_magnitude(y, over=over)
        total = total + (1 - (2 * gx * gy + _STEADY) / (gx.square() + gy.square() + _STEADY)).mean()
    return total / scales


def with_holes(cubes: Tensor, generator: torch.Generator, *, most: int = 32) -> Tensor:
    """``cubes`` with 1 to ``most`` random blobs of 3 to 20 pixels set to zero in all bands."""
    n, _, rows, cols = cubes.shape
    kept = torch.ones(n, 1, rows, cols, dtype=cubes.dtype)
    for number in range(n):
        for _ in range(_draw(1, most, generator)):
            _punch(kept[number, 0], generator)
    return cubes * kept.to(cubes.device)


def _punch(kept: Tensor, generator: torch.Generator) -> None:
    """Grow one blob from a random pixel by random steps from pixels that it has."""
    rows, cols = kept.shape
    blob = [(_draw(0, rows - 1, generator), _draw(0, cols - 1, generator))]
    steps = torch.rand(60, 2, generator=generator).tolist()
    size = _draw(3, 20, generator)
    for which, way in steps:
        row, col = blob[int(which * len(blob))]
        down, right = ((0, 1), (1, 0), (0, -1), (-1, 0))[int(way * 4)]
        place = (min(max(row + down, 0), rows - 1), min(max(col + right, 0), cols - 1))
        if place not in blob:
            blob.append(place)
        if len(blob) == size:
            break
    for row, col in blob:
        kept[row, col] = 0.0


def _draw(least: int, most: int, generator: torch.Generator) -> int:
    return int(torch.randint(least, most + 1, (), generator=generator))
