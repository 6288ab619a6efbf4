"""Instruments that look inside nets: layer responses, gradients, signal propagation, lesions, loss landscapes.

An instrument is a module of instruments/ with options and a function that makes the content of a JSON file. The modules
beside that folder have the mathematics: pure functions of a model, its variables and data. reports/figures/draw.py
draws figures from the JSON file. Instruments find layers by the names of modules, with Flax's interceptors
(modules.py). So models have no code for them, and they work for every variant.
"""
