"""Dataset cards, readers, validation, splits and prepared cases. Never imports torch, monai or mlflow."""
