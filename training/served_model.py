"""The code file of every registered version: MLflow runs it to load one (models-from-code)."""

from training.serving import declare_served_model

declare_served_model()
