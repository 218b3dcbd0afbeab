"""Evaluation of a detector, 1,000 images with some ten boxes each: every estimate with its interval, and the report."""

from __future__ import annotations
