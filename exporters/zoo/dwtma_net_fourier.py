"""Fourier frequency attention, by FFT for training and by constant products for engines that know no DFT."""

from __future__ import annotations

import numpy as np
import torch  # noqa: TID253
from numpy.typing import NDArray
from torch import Tensor, nn  # noqa: TID253

EPSILON = 1e-6


class FAM(nn.Module):
    """Remaps the amplitude of each frequency across channels and keeps the phase: haze lies mostly in the amplitude.

    Transforms are orthonormal, so the largest value stays within float16. ``lower`` replaces them, at one size, by
    matrix products with the same answer.
    """

    forward_cols: Tensor
    inverse_cols: Tensor
    cos_rows: Tensor
    sin_rows: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.size_px: tuple[int, int] | None = None
        self.remap = nn.Sequential(
            nn.Conv2d(channels, channels, 1), nn.LeakyReLU(0.1), nn.Conv2d(channels, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) in and out, float32 whatever comes in: the gates divide by small amplitudes."""
        x = x.float()
        real, imag = self._products(x) if self.size_px else _fft(x)
        amplitude = torch.sqrt(real * real + imag * imag + EPSILON)
        gain = self.remap(amplitude).float() / amplitude
        real, imag = gain * real, gain * imag
        if self.size_px:
            return self._products_back(real, imag)
        back: Tensor = torch.fft.irfft2(torch.complex(real, imag), s=x.shape[2:], norm="ortho")
        return back

    def lower(self, rows: int, cols: int) -> None:
        """Use constant products from now on, for maps of ``rows`` x ``cols`` alone."""
        cos_rows, sin_rows = _waves(rows)
        cos_cols, sin_cols = _waves(cols)
        half = cols // 2 + 1
        twice = np.full((half, 1), 2.0)
        twice[0] = 1.0
        if cols % 2 == 0:
            twice[-1] = 1.0
        constants = {
            "forward_cols": np.hstack([cos_cols[:, :half], -sin_cols[:, :half]]),
            "inverse_cols": np.vstack([twice * cos_cols[:half], -twice * sin_cols[:half]]),
            "cos_rows": cos_rows,
            "sin_rows": sin_rows,
        }
        device = next(self.parameters()).device
        for name, matrix in constants.items():
            self.register_buffer(name, torch.from_numpy(matrix).float().to(device), persistent=False)
        self.size_px = (rows, cols)

    def _products(self, x: Tensor) -> tuple[Tensor, Tensor]:
        half = self.forward_cols.shape[1] // 2
        both = x @ self.forward_cols
        real, imag = both[..., :half], both[..., half:]
        return (
            self.cos_rows @ real + self.sin_rows @ imag,
            self.cos_rows @ imag - self.sin_rows @ real,
        )

    def _products_back(self, real: Tensor, imag: Tensor) -> Tensor:
        back_real = self.cos_rows @ real - self.sin_rows @ imag
        back_imag = self.cos_rows @ imag + self.sin_rows @ real
        return torch.cat([back_real, back_imag], dim=-1) @ self.inverse_cols


def lower_fourier(network: nn.Module, example: Tensor) -> nn.Module:
    """Fix every FAM of ``network`` to the size it meets when fed ``example``; same weights, same answers, no DFT."""
    sizes: dict[FAM, tuple[int, int]] = {}
    blocks = [module for module in network.modules() if isinstance(module, FAM)]
    handles = [
        block.register_forward_pre_hook(lambda block, given: sizes.update({block: tuple(given[0].shape[2:])}))
        for block in blocks
    ]
    with torch.no_grad():
        network(example)
    for handle in handles:
        handle.remove()
    for block, (rows, cols) in sizes.items():
        block.lower(rows, cols)
    return network


def _fft(x: Tensor) -> tuple[Tensor, Tensor]:
    spectrum = torch.fft.rfft2(x, norm="ortho")
    return spectrum.real, spectrum.imag


def _waves(points: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Orthonormal cosine and sine matrices (points, points), in float64."""
    index = np.arange(points)
    angle = 2.0 * np.pi * (np.outer(index, index) % points) / points
    return np.cos(angle) / np.sqrt(points), np.sin(angle) / np.sqrt(points)
