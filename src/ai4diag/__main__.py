"""`python -m ai4diag` is the command `ai4diag`."""

from ai4diag.cli import main

main()
