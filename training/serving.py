"""The address that versions registered before `training.registry` hold in their code files.

A registered version keeps its code file for good (models-from-code), and that of an earlier one
imports this module: without it MLflow could load none of them. Nothing else imports it.
"""

from training.registry.pyfunc import declare_served_model

__all__ = ["declare_served_model"]
