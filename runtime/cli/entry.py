"""The entry point: every refusal becomes one line and an exit code: 0 ok, 1 failed, 2 usage, 3 degraded."""

from __future__ import annotations

import os
import sys

import click

from exporters.errors import ExporterError
from exporters.onnx_runtime import silence_onnxruntime
from policies.errors import NotInstalledError as PolicyNotInstalledError
from policies.errors import PolicyError, TrainingInterrupted
from power_sim.errors import PowerSimError, ScenarioError

from ..errors import AddressError, MissionError, NoDaemonError, NotInstalledError, RefusedError, SubsolarError
from .common import cli

EXTRAS = {
    "torch": "export",
    "onnx": "export",
    "gymnasium": "train",
    "stable_baselines3": "train",
    "matplotlib": "sim",
    "onnxruntime": "cpu",
    "pyarrow": "parquet",
}
"""Which extra of the distribution brings a library."""


def main() -> None:
    """Run the command and turn every refusal into one line and an exit code."""
    silence_onnxruntime()
    try:
        code = cli(standalone_mode=False)
    except click.ClickException as problem:
        problem.show()
        code = 2
    except click.exceptions.Exit as leave:
        code = leave.exit_code
    except (NoDaemonError, RefusedError, NotInstalledError, PolicyNotInstalledError, TrainingInterrupted) as problem:
        code = refuse(problem, 1)
    except (ScenarioError, MissionError, PolicyError, AddressError) as problem:
        code = refuse(problem, 2)
    except (SubsolarError, PowerSimError, ExporterError) as problem:
        code = refuse(problem, 1)
    except ModuleNotFoundError as problem:
        if problem.name not in EXTRAS:
            raise
        extra = EXTRAS[problem.name]
        advice = f"pip install 'subsolar[{extra}]', or in a checkout: .venv/bin/pip install -e '.[{extra}]'"
        code = refuse(f"this needs {problem.name}. Install it with: {advice}", 1)
    except (click.Abort, KeyboardInterrupt):
        code = refuse("stopped by the user", 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def refuse(problem: object, code: int) -> int:
    """Print one line and return the exit code."""
    print(f"subsolar: {' '.join(str(problem).split())}", file=sys.stderr)
    return code
