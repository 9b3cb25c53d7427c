"""Recommendations, out of the feature store and into files and Redis."""
