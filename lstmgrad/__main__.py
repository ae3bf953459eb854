"""`python -m lstmgrad`: the command line."""

import sys

from lstmgrad.cli import main

if __name__ == "__main__":
    sys.exit(main())
