"""``python -m srlib.cli``."""

from srlib.cli import main

main()
