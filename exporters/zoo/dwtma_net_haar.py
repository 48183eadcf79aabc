"""The orthonormal Haar transform on 2 x 2 blocks, as strided convolutions: one node each in an exported graph."""

from __future__ import annotations

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253
from torch.nn import functional as F  # noqa: TID253

_BANDS = ((1, 1, 1, 1), (1, -1, 1, -1), (1, 1, -1, -1), (1, -1, -1, 1))
"""Signs on the block [a b; c d] for LL, HL (changes along a row), LH (along a column), HH."""


class _Haar(nn.Module):
    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        kernel = torch.tensor(_BANDS, dtype=torch.float32).reshape(4, 1, 2, 2) / 2.0
        self.register_buffer("kernel", kernel.repeat(channels, 1, 1, 1), persistent=False)


class DWT(_Haar):
    """Forward transform; the four bands of a channel lie side by side: c0 LL, c0 HL, c0 LH, c0 HH, c1 LL, …"""

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w), h and w even, in; (n, 4 c, h/2, w/2) out."""
        return F.conv2d(x, self.kernel.to(x.dtype), stride=2, groups=self.channels)


class IDWT(_Haar):
    """The transpose of ``DWT``, which is its inverse."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, 4 c, h, w) in, (n, c, 2 h, 2 w) out."""
        return F.conv_transpose2d(x, self.kernel.to(x.dtype), stride=2, groups=self.channels)
