"""`python -m spancredit` is `spancredit`."""

from spancredit.cli import main

main()
