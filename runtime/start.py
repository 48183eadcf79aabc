"""Where the ``subsolar`` command begins: nothing is imported before Ctrl-C is one line instead of a traceback."""

import sys


def main() -> None:
    """Load the command and run it."""
    try:
        from .cli import main as command
    except KeyboardInterrupt:
        sys.stderr.write("subsolar: stopped by the user\n")
        sys.exit(1)
    command()
