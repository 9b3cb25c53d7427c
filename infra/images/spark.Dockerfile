# Spark: master and workers of a standalone cluster, or driver and executor pods on Kubernetes.
#   docker build -f infra/images/spark.Dockerfile -t sidereal-spark .
# The entrypoint of the official image speaks Kubernetes' protocol of drivers and executors; the
# Python is ours, because driver and executors must run the same minor version. Spark's version is
# that of pyspark in constraints.txt.
ARG BASE=python:3.11-slim-bookworm
ARG SPARK=apache/spark:4.2.0
FROM ${SPARK} AS spark

FROM ${BASE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends openjdk-17-jre-headless procps tini \
    && rm -rf /var/lib/apt/lists/*
COPY --from=spark /opt/spark /opt/spark
COPY --from=spark /opt/entrypoint.sh /opt/entrypoint.sh

WORKDIR /opt/sidereal
COPY constraints.txt ./
COPY infra/images/*.txt infra/images/
RUN pip install --no-cache-dir --constraint constraints.txt --requirement infra/images/spark.txt

COPY pyproject.toml README.md ./
COPY feature_store feature_store
COPY pipelines pipelines
COPY presets presets
ENV SPARK_HOME=/opt/spark PATH=/opt/spark/bin:$PATH PYTHONPATH=/opt/sidereal \
    PYSPARK_PYTHON=/usr/local/bin/python SIDEREAL_HOME=/state

RUN useradd --create-home --uid 50000 spark && mkdir -p /state /opt/spark/work \
    && chown spark /state /opt/spark/work
USER spark
ENTRYPOINT ["/opt/entrypoint.sh"]
