"""Named functions that replace the task's defaults: see docs/reference/hooks.md. None so far."""
