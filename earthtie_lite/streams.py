"""Random streams: one for each purpose, so that no two uses of a seed share their numbers."""

import zlib

import numpy as np


def stream(purpose: str, *numbers: int) -> np.random.Generator:
    """Return the random generator of a purpose and its numbers, such as seed and epoch.

    NumPy ignores zeros at the end of a seed: ``default_rng([3, 0])`` is ``default_rng(3)``. The
    hash of the purpose stands last, so it is never such a zero.

    Examples
    --------
    >>> a, b = stream("labels", 0), stream("places", 0)
    >>> bool(a.random() == b.random())
    False
    """
    return np.random.default_rng([*numbers, zlib.crc32(purpose.encode())])


def torch_seed(purpose: str, *numbers: int) -> int:
    """Return a seed for ``torch.manual_seed`` of a purpose and its numbers."""
    return int(stream(purpose, *numbers).integers(2**63))
