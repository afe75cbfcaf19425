"""``python -m manyfit`` is the command ``manyfit``."""

from __future__ import annotations

import sys

from manyfit.cli import main

if __name__ == "__main__":
    sys.exit(main())
