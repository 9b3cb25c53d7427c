"""What a GPU has to show: `python -m benchmarks.gpu`, of torch, numpy and pyarrow alone.

It runs on a bare machine from a checkout: no Spark, no Airflow, no mlflow, no network. Data is
synthetic (`synthetic`), and each part (`parts`) is one function. `make gpu` starts it.
"""
