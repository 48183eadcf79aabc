"""``python -m runtime`` is the ``subsolar`` command."""

from .start import main

main()
