"""`python -m lander.cli` is the command `lander`."""

from lander.cli import main

main()
