"""Volumes that are read plane by plane: compressed files, folders of slices, appended pieces."""

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

CACHE = 2**28  # bytes of planes that are kept


class Planes:
    """A volume whose planes are read when they are asked for; the last ones are kept.

    It slices as an array does, and ``np.asarray`` loads it whole.

    Args:
        read: From the number of a plane to its values ``(H, W)``.
        shape: (D, H, W).
        dtype: Of every plane.

    Attributes:
        shape, dtype, ndim, size: As those of an array.
    """

    ndim = 3

    def __init__(
        self, read: Callable[[int], np.ndarray], shape: tuple[int, ...], dtype: np.dtype
    ) -> None:
        self.shape, self.dtype = tuple(int(n) for n in shape), np.dtype(dtype)
        self.size = int(np.prod(self.shape, dtype=np.int64))
        bytes_of_one = max(1, self.size // max(1, self.shape[0]) * self.dtype.itemsize)
        self._read = lru_cache(max(1, min(self.shape[0], CACHE // bytes_of_one)))(read)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        keys = key if isinstance(key, tuple) else (key,)
        if keys and keys[0] is Ellipsis:
            keys = (slice(None),) * (self.ndim - len(keys) + 1) + keys[1:]
        first, rest = (keys[0], keys[1:]) if keys else (slice(None), ())
        if isinstance(first, int | np.integer):
            number = int(first) + (self.shape[0] if first < 0 else 0)
            if not 0 <= number < self.shape[0]:
                raise IndexError(f"plane {first} of {self.shape[0]}")
            return self._plane(number)[rest]
        if isinstance(first, slice):
            numbers = range(*first.indices(self.shape[0]))
        else:
            numbers = np.arange(self.shape[0])[first]
        planes = [self._plane(int(number))[rest] for number in numbers]
        return np.stack(planes) if planes else np.empty((0, *self.shape[1:]), self.dtype)[:, *rest]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        values = self[:]
        return values if dtype is None else values.astype(dtype, copy=False)

    def _plane(self, number: int) -> np.ndarray:
        plane = self._read(number)
        if plane.shape != self.shape[1:]:
            raise ValueError(f"plane {number} is {plane.shape}, but the first is {self.shape[1:]}")
        return plane


def middle(shape: tuple[int, ...], most: int) -> tuple[slice, ...]:
    """The middle of an image, at most ``most`` voxels, as near to a cube as its shape allows.

    Example:
        >>> from srlib.data.planes import middle
        >>> middle((10, 100, 100), 10_000)
        (slice(0, 10, None), slice(34, 65, None), slice(34, 65, None))
    """
    edge = max(shape)
    while prod(min(n, edge) for n in shape) > most:
        edge = int(edge * 0.98)
    return tuple(slice((n - min(n, edge)) // 2, (n + min(n, edge)) // 2) for n in shape)
