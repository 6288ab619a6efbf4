"""Where data come from: a module for each source, whose `load` gives a Dataset."""
