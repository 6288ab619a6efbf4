"""The sources of data. The name of each module is a legal `data.source`; its `load(config, note)` returns a Dataset.

For a new source, add a module. There is no list to change: config/data.py reads the names of the modules here.
"""
