"""A pipeline is a folder: finding it, its four stages, its contract, making a new one, reproducing it."""
