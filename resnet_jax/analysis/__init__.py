"""What a net reveals: layer responses, gradients, signal propagation, lesions, loss landscapes.

An instrument is a module with a pure function over a model, its variables and data that returns arrays, and with
`measure`, which applies it to a net and returns what goes into a JSON file. Figures are drawn from that file by
reports/figures/draw.py. Instruments reach into a net by the names of its modules, with Flax's interceptors
(modules.py): no model knows of them, and they work on any variant.
"""
