# ferflow without a GPU: the command, a work-pool worker, a Dask worker, Prefect's server. From the repository's root:
#
#   docker build --file deployments/docker/cpu.Dockerfile --tag ferflow:cpu .
#
# cuda.Dockerfile differs in the lines that name PyTorch's index, CUDA's libraries and the driver.
# For builds that cannot change, name the base image by its digest: --build-arg BASE=python:3.11-slim-bookworm@sha256:...
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/ferflow
# What ferflow needs, in layers of its own: they outlive changes of the code. Releases and the digests of their files are those of the locks.
COPY constraints.txt ./
COPY locks locks
RUN /opt/ferflow/bin/pip install --require-hashes --no-deps --only-binary :all: \
    --requirement constraints.txt --requirement locks/delta.txt
# PyTorch from this index alone.
RUN /opt/ferflow/bin/pip install --require-hashes --no-deps --only-binary :all: \
    --index-url "${TORCH_INDEX}" --requirement locks/torch.txt
COPY pyproject.toml README.md LICENSE ./
COPY fer_core fer_core
COPY tasks tasks
COPY flows flows
RUN /opt/ferflow/bin/pip install --no-deps --no-build-isolation . && /opt/ferflow/bin/pip check

FROM ${BASE}
# OpenCV's libraries; tini ends what a killed run leaves behind. Their versions are the base image's release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 ferflow \
    && install --directory --owner ferflow --group ferflow /data /data/photos /data/labels /data/models /home/ferflow/.prefect
COPY --from=build /opt/ferflow /opt/ferflow
# No telemetry leaves the machine; Prefect keeps no results, which are in the tables.
ENV PATH=/opt/ferflow/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1 \
    DO_NOT_TRACK=1 \
    ORT_DISABLE_TELEMETRY=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY=false \
    PREFECT_RESULTS_PERSIST_BY_DEFAULT=false \
    DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0
USER 10001
WORKDIR /home/ferflow
VOLUME ["/data/labels", "/data/models", "/home/ferflow/.prefect"]
ENTRYPOINT ["tini", "--"]
CMD ["ferflow", "--help"]
