"""Names for types that many modules use."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Tree = Any
"""A nesting of dictionaries, tuples and dataclasses with arrays as its leaves: JAX's pytree."""
Variables = dict[str, Any]
"""The variables of a net as Flax has them: collections by name, in them modules by name, in them arrays."""
Floats = npt.NDArray[np.float64]
"""A NumPy array of float64."""
