"""The tables of docs/derivation.md: costs of the nets, and gradients at the start of training."""
