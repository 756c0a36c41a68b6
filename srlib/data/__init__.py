"""What a study starts from: cases, label images and volumes of files, and random windows.

The public data sets themselves are :func:`srlib.datasets.load`.

Example:
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import tifffile
    >>> from srlib.data import read_labels
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "mine.tif"
    ...     tifffile.imwrite(path, np.array([[0, 85, 170], [85, 85, 0]], np.uint8))
    ...     read_labels(path).tolist()
    [[0, 1, 2], [1, 1, 0]]
"""

from srlib.data.case import Case, majority_filter
from srlib.data.io import (
    as_phases,
    encode_labels,
    find_file,
    phase_values,
    read,
    read_labels,
    write,
)
from srlib.data.sampling import (
    check_images,
    most_mixed,
    one_hot,
    sample_cubes,
    sample_squares,
    slice_volume,
)

__all__ = [
    "Case",
    "as_phases",
    "check_images",
    "encode_labels",
    "find_file",
    "majority_filter",
    "most_mixed",
    "one_hot",
    "phase_values",
    "read",
    "read_labels",
    "sample_cubes",
    "sample_squares",
    "slice_volume",
    "write",
]
