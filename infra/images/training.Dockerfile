# Training: one step per container, on a CPU or a GPU. No Airflow and no Spark in it.
#   docker build -f infra/images/training.Dockerfile -t sidereal-training .
# The service that answers with what was trained, of the same layers:
#   docker build -f infra/images/training.Dockerfile --target serving -t sidereal-serving .
# pip takes the CUDA build of torch on x86 Linux by itself; TORCH_INDEX chooses another one.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE} AS installed
ARG TORCH_INDEX=""

WORKDIR /opt/sidereal
COPY constraints.txt ./
COPY infra/images/training.txt infra/images/
RUN pip install --no-cache-dir --constraint constraints.txt ${TORCH_INDEX:+--index-url ${TORCH_INDEX}} torch \
    && pip install --no-cache-dir --constraint constraints.txt --requirement infra/images/training.txt

COPY pyproject.toml README.md ./
COPY feature_store feature_store
COPY training training
COPY sidereal sidereal
COPY presets presets
RUN pip install --no-cache-dir --no-deps --editable .

RUN useradd --create-home --uid 50000 training && mkdir /state && chown training /state
USER training
ENV SIDEREAL_HOME=/state

FROM installed AS serving
EXPOSE 8100
ENTRYPOINT ["sidereal", "serve"]

FROM installed AS training
ENTRYPOINT []
CMD ["sidereal", "step", "--help"]
