"""Airflow writes its configuration file where it is first imported: not into somebody's home."""

import os
import tempfile

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-home-"))
