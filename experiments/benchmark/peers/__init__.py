"""The peers: the same nets, as anyone would write them in Flax and in PyTorch. None imports resnet_jax."""
