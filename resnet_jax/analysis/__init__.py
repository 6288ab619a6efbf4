"""Instruments that measure what happens inside nets: layer responses, gradients, signals, deleted blocks, loss
landscapes.

Each module of `instruments/` is one instrument: its options, and a function that returns the results for a JSON file.
The other modules contain the mathematics, as pure functions of a model, its variables and data. The module
`reports/figures/draw.py` draws figures from the JSON files.

The measurements use Flax's interceptors (modules.py) and find layers by the names of their modules. So the models
contain no code for the measurements, and every variant of a net can be measured.
"""
