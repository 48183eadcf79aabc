"""CAB-HL in the zoo."""

from __future__ import annotations

from ..registry import Network, Size

ENTRIES = (
    Network(
        name="cab_hl",
        title="CAB-HL",
        paper="Hussain et al., Cross Attention Based Dual-Modality Collaboration for Hyperspectral Image and LiDAR "
        "Data Classification, Remote Sensing",
        task="classification",
        module="cab_hl",
        cls="CABHL",
        sizes={
            "published": Size(
                options={},
                input=(31, 8, 8),
                note="the paper counts neither parameters nor operations; the card's reading has 153,683 and 52.7 M",
            ),
            "edge": Size(options={"components": 16, "patch": 6}, input=(17, 6, 6)),
        },
        deploy="cab_hl_deploy:deploy",
        course="cab_hl:course",
        kind="probabilities",
    ),
)
