"""The sources of data: the name of each module here is a legal `data.source`. It has `load(config, note) -> Dataset`.

For a new source, add a module. There is no list to change: config/data.py reads the names of the modules here.
"""
