"""Fetch the public files of this book: ``srlib data`` from a checkout, before srlib is installed.

    python data/download.py --list           # every file: bytes, licence, voxel size, address
    python data/download.py case3            # the two files of Case 3 (1.3 MB)

See ``srlib/downloads/download.py``, which does it.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from srlib.downloads.download import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
