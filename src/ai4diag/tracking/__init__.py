"""Tracking: every run ends up in MLflow, bound to its commit, data, environment and seed.

The only part of the library that knows MLflow. Importing it costs nothing; MLflow (one to four seconds) is imported
when a run is started. Reading the local store (`ai4diag runs`) does not import it at all.
"""

from ai4diag.tracking.run import SWITCH, NoTracker, Tracker, track

__all__ = ["SWITCH", "NoTracker", "Tracker", "track"]
