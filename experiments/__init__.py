"""Commands and configurations: what is run, with what settings. The package `resnet_jax` knows nothing of them."""
