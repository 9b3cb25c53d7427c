"""The code file of every registered version: MLflow runs it to load one (models-from-code)."""

from training.registry.pyfunc import declare_served_model

declare_served_model()
