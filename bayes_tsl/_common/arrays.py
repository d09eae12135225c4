"""Arrays of numbers, whichever library they come from."""

import jax
import numpy as np

AnyArray = jax.Array | np.ndarray
"""An array of JAX or NumPy; docstrings give the shape."""
