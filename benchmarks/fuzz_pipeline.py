"""A long campaign of broken rasters: `make fuzz-pipeline`. What goes wrong stays in build/fuzz as a seed."""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

from tests.runtime.mutations import FORMATS, campaign


def main() -> None:
    """Run until the time is over or something is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    folder = Path("build/fuzz")
    folder.mkdir(parents=True, exist_ok=True)
    end_s, tried, wrong, seed = time.monotonic() + 60 * given.minutes, 0, list[str](), given.seed
    while time.monotonic() < end_s and not wrong:
        for name in sorted(FORMATS):
            findings = campaign(folder, name, 500, seed)
            tried += findings.all
            wrong += findings.wrong
            peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"{tried:>8} tried, {name}: {findings.refused} of {findings.all} refused, "
                f"slowest {findings.slowest_s:.2f} s, peak {peak_mb:.0f} MB",
                flush=True,
            )
        seed += 1
    print("\n".join(wrong) or f"{tried} broken rasters, nothing wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
