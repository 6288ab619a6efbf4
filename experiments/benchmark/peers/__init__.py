"""Peers in the benchmark: the papers' nets in Flax and in PyTorch, and other image loaders. None imports resnet_jax."""
