# The image of every vidgen pod: Ray head, Ray workers, `helm test`.
#
#   docker build -t vidgen:0.1.0 .                                          A100 and newer: PyPI's CUDA build
#   docker build -t vidgen:0.1.0-cu126 --build-arg TORCH_INDEX_URL=URL .    V100: PyTorch's own cu126 index
#   docker build -t vidgen:0.1.0-cpu --build-arg TORCH_INDEX_URL=URL .      trials: PyTorch's own cpu index
#
# Runs as uid 1000 with a read-only root. Writable: /tmp (Ray's sessions) and /home/vidgen (caches).
# Layers go from slow to fast: system, torch, other packages, vidgen. A change of vidgen's code
# re-pulls the last one.
ARG BASE_IMAGE=python:3.11.14-slim-bookworm

# The wheel, and what it needs as a file of its own, so that code leaves the package layers alone.
FROM ${BASE_IMAGE} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
    print(*p['dependencies'], *p['optional-dependencies']['train'], sep='\n')" > /requirements.txt
COPY vidgen vidgen
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${BASE_IMAGE}
# tini hands signals on and reaps children where the command is not Ray's own.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends 'tini=0.19.*' \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home --shell /usr/sbin/nologin vidgen \
    && python -m venv /opt/vidgen
ENV PATH=/opt/vidgen/bin:$PATH

ARG TORCH_INDEX_URL=
RUN --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    pip install --no-cache-dir -c /constraints.txt \
    ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} torch
RUN --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    --mount=type=bind,from=build,source=/requirements.txt,target=/requirements.txt \
    pip install --no-cache-dir -c /constraints.txt -r /requirements.txt
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-deps /wheels/*.whl

# The NVIDIA runtime mounts driver libraries for these; which GPUs a pod sees is the device plugin's.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    HOME=/home/vidgen \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0

ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title=vidgen \
      org.opencontainers.image.description="Train video-generation models on any Kubernetes GPU pool" \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION} \
      org.opencontainers.image.created=${CREATED}

USER 1000:1000
WORKDIR /home/vidgen
ENTRYPOINT ["tini", "--"]
CMD ["vidgen", "--help"]
