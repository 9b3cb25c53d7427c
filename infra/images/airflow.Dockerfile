# Airflow: API server, scheduler, DAG processor and their tasks. Build from the repository's root:
#   docker build -f infra/images/airflow.Dockerfile -t sidereal-airflow .
# WITH names what else runs inside its tasks: `spark` where drivers do (client mode, the only one of
# a standalone cluster for Python), `training` where SIDEREAL_LAUNCHER is local. On Kubernetes both
# have pods of their own: --build-arg WITH="".
# Pin the base by its digest in your own registry; deploy by digest as well.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
ARG WITH="spark training"

RUN apt-get update \
    && apt-get install -y --no-install-recommends openjdk-17-jre-headless procps tini \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/sidereal
COPY constraints.txt ./
COPY infra/images/*.txt infra/images/
RUN for part in airflow ${WITH}; do set -- "$@" --requirement infra/images/$part.txt; done \
    && pip install --no-cache-dir --constraint constraints.txt "$@"

COPY pyproject.toml README.md ./
COPY feature_store feature_store
COPY pipelines pipelines
COPY training training
COPY dags dags
COPY sidereal sidereal
COPY benchmarks benchmarks
COPY presets presets
COPY infra infra
# Our own commands; what they import was chosen above. Editable: presets and DAGs are found beside
# the packages, here as in a checkout.
RUN pip install --no-cache-dir --no-deps --editable .

RUN useradd --create-home --uid 50000 airflow && mkdir /state && chown airflow /state
USER airflow
ENV AIRFLOW_HOME=/home/airflow AIRFLOW__CORE__DAGS_FOLDER=/opt/sidereal/dags SIDEREAL_HOME=/state
ENTRYPOINT ["/usr/bin/tini", "--", "airflow"]
