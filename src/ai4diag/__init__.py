"""ai4diag: a pipeline is a folder; a task knows how; every run ends in evidence."""

__version__ = "0.1.0"
