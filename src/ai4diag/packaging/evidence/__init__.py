"""The evidence pack of a run: what a third party needs to check a claim, and nothing that names a patient."""
