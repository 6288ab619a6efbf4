"""The peers: the same nets in straightforward Flax and PyTorch, and other image loaders. None imports resnet_jax."""
