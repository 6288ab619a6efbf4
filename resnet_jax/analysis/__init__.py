"""What a net reveals: layer responses, gradients, signal propagation, lesions, loss landscapes.

An instrument is a module of instruments/, with its options and what it writes into a JSON file. The modules beside that
folder have the mathematics: pure functions over a model, its variables and data that return arrays. Figures are drawn
from the file by reports/figures/draw.py. Instruments reach into a net by the names of its modules, with Flax's
interceptors (modules.py): no model knows of them, and they work on any variant.
"""
