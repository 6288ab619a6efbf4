"""Deep residual networks in JAX: plain against residual, and what depth does to both."""

__version__ = "0.1.0"
