"""SSA-Net in the zoo."""

from __future__ import annotations

from ..registry import Network, Size

_COUNTED = (
    "the paper's 6.65 G counts transposed convolutions on their output and 4 operations an element of batch "
    "normalisation; the convolutions of a 256 px pair cost 4.88 GMACs"
)

ENTRIES = (
    Network(
        name="ssa_net",
        title="SSA-Net",
        paper="Fu et al., Remote Sensing Image-Based Building Change Detection: A Case Study of the Qinling Mountains "
        "in China, Remote Sensing",
        task="change",
        module="ssa_net",
        cls="SSANet",
        sizes={
            "published": Size(options={}, input=(6, 256, 256), params_paper=3.54e6, gmacs_paper=6.65, note=_COUNTED),
            "edge": Size(options={"width": 16}, input=(6, 128, 128)),
        },
        deploy="ssa_net_deploy:deploy",
        course="ssa_net:course",
        kind="mask",
    ),
)
