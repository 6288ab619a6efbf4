"""Names for types that many modules use."""

from typing import Any

import numpy as np
import numpy.typing as npt

Tree = Any
"""A pytree of JAX: nested dictionaries, tuples and dataclasses with arrays as leaves."""
Variables = dict[str, Any]
"""The variables of a Flax net: {collection: {module: {name: array}}}."""
Floats = npt.NDArray[np.float64]
"""A NumPy array of float64."""
