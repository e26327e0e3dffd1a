"""Makes ``python -m catdcgan`` run the command ``catdcgan``."""

import sys

from catdcgan.cli import main

if __name__ == "__main__":
    sys.exit(main())
