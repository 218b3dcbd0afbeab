"""The search for leaks, the gate before training: what would make a test result better than the model is."""
