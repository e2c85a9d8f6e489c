"""``python -m bicross`` is the command ``bicross``."""

from bicross.cli import main

main()
