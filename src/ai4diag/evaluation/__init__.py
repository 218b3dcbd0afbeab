"""Evaluation: predictions in, estimates with intervals out. Nothing here imports torch."""
