"""`python -m sqlstream`: the command line."""

import sys

from sqlstream.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
