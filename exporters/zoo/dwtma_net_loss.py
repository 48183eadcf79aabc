"""The loss of DWTMA-Net: L1 in the image and in its spectrum (equations 12 to 14)."""

from __future__ import annotations

import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253

FOURIER_WEIGHT = 0.1


def dehazing_loss(restored: Tensor, clear: Tensor) -> dict[str, Tensor]:
    """``loss``, ``l1`` and ``fourier`` of two (n, 3, h, w) images: L1 + 0.1 (L1 of real parts + L1 of imaginary parts).

    All three are means; the transform is the plain, unnormalised one of each channel.
    """
    error = (restored - clear).float()
    l1 = error.abs().mean()
    spectrum = torch.fft.fft2(error)
    fourier = spectrum.real.abs().mean() + spectrum.imag.abs().mean()
    return {"loss": l1 + FOURIER_WEIGHT * fourier, "l1": l1, "fourier": fourier}
