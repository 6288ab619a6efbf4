"""Where data come from: each module here is a legal `data.source`, with `load(config, note) -> Dataset`.

A new data set is a new module. Nothing else lists them: config/data.py reads the names off this folder.
"""
