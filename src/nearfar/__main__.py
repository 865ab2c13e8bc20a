"""``python -m nearfar``: the command line, where scripts are not on the path."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
