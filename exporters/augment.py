"""Random views of chips seen from above: there is no up, so flips and quarter turns keep the label."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor


def normalise(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(n, bands, rows, cols) uint8 in, float32 with zero mean and unit deviation per band out."""
    return (pixels.float() / 255.0 - mean[:, None, None]) / std[:, None, None]


def augment(pixels: Tensor, *, shift_px: int, generator: Generator) -> Tensor:
    """One random view of each square uint8 chip: one of the eight symmetries, shifted, light and contrast changed."""
    import torch

    out = random_symmetry(random_shift(pixels, shift_px, generator), generator)
    draws = torch.rand(2, len(out), 1, 1, 1, generator=generator)
    gain, offset = 0.9 + 0.2 * draws[0], 20.0 * (draws[1] - 0.5)
    return (out.float() * gain + offset).clamp_(0.0, 255.0)


def random_symmetry(pixels: Tensor, generator: Generator) -> Tensor:
    """Apply one of the eight symmetries of the square to each chip."""
    import torch

    out = pixels.clone()
    choice = torch.randint(0, 8, (len(pixels),), generator=generator)
    for symmetry in range(8):
        index = torch.nonzero(choice == symmetry).flatten()
        view = torch.rot90(pixels[index], symmetry % 4, dims=(2, 3))
        out[index] = view.flip(3) if symmetry >= 4 else view
    return out


def random_shift(pixels: Tensor, shift_px: int, generator: Generator) -> Tensor:
    """Move each chip by up to ``shift_px`` in both directions; the border mirrors."""
    import torch

    if shift_px == 0:
        return pixels
    n, edge = len(pixels), pixels.shape[2]
    padded = torch.nn.functional.pad(pixels.float(), (shift_px,) * 4, mode="reflect").to(pixels.dtype)
    start = torch.randint(0, 2 * shift_px + 1, (2, n), generator=generator)
    rows = (start[0, :, None] + torch.arange(edge))[:, None, :, None]
    cols = (start[1, :, None] + torch.arange(edge))[:, None, None, :]
    chips, bands = torch.arange(n)[:, None, None, None], torch.arange(pixels.shape[1])[None, :, None, None]
    return padded[chips, bands, rows, cols]
