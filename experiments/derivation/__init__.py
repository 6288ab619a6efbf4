"""The tables of docs/derivation.md: what the nets cost, and gradients at the start of training."""
