"""The one door to ONNX Runtime. Its official builds from 1.29 on report their use to Microsoft unless told not to.

On Linux, too (microsoft/onnxruntime, pull request 27379): a thread, events in a file of the home folder, uploads over
HTTPS. Nothing that flies, and nothing that is to run without a network, may do that.
"""

from __future__ import annotations

import os
from typing import Any


def silence_onnxruntime() -> None:
    """Forbid its reports, also where another library loads it. Has no effect once it is loaded."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read by the C++ library as it loads: there is no argument for it


def import_onnxruntime() -> Any:
    """Import and return ``onnxruntime``, silenced. Raises ``ImportError`` where it is not installed."""
    silence_onnxruntime()
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # where somebody has imported it before
    return onnxruntime
