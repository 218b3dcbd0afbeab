"""How the raw files of a data set are laid out: one block of a dataset card per module."""
