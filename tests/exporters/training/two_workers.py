"""One of the processes that ``test_loop`` starts as torchrun would: trains the line, prints its weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from line_course import LineCourse

from exporters.checkpoint import load_checkpoint
from exporters.training.loop import fit_course
from exporters.training.training import Training

if __name__ == "__main__":
    result = fit_course(LineCourse(), Training(**json.loads(sys.argv[2])), Path(sys.argv[1]))
    print(json.dumps(load_checkpoint(result.last).state_dict["layer.weight"].tolist()))  # noqa: T201
