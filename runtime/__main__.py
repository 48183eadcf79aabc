"""``python -m runtime`` is the ``subsolar`` command."""

from .cli import main

main()
