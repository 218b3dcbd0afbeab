"""The bundle: a model that can leave, with everything that says what it is."""
