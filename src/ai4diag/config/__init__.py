"""`pipeline.yaml` and dataset cards as frozen typed objects."""
