# An image with the command `lander` and everything that it needs, as requirements.lock has it (docs/install.md):
#
#   podman build --tag lander .        (or docker build)
#   podman run --rm --volume "$PWD:/work" lander run mine.yaml

# Any image with Python 3.11 or newer and venv.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}

# A build of PyTorch, as `uv pip install --torch-backend` names it: cpu, auto, cu130, ...; empty: pip's choice, with CUDA.
ARG TORCH=""
ARG UV=uv==0.13.9

# Snakemake asks for a user's name and home, which `--user 1000` does not have.
ENV PATH=/opt/lander/bin:${PATH} \
    HOME=/tmp \
    USER=lander \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /src
COPY requirements.lock ./
RUN python3 -m venv /opt/lander \
    && if [ -n "${TORCH}" ]; then \
        pip install "${UV}" \
        && uv pip install --no-cache --python /opt/lander/bin/python --torch-backend "${TORCH}" \
            --constraint requirements.lock "$(grep '^torch==' requirements.lock)"; \
    fi \
    && pip install --requirement requirements.lock

# Changes of the code leave the layer of the packages as it is.
COPY pyproject.toml README.md LICENSE config.yaml ./
COPY config config
COPY workflow workflow
COPY lander lander
RUN pip install --no-deps --no-build-isolation . && rm -r /src/*

WORKDIR /work
ENTRYPOINT ["lander"]
CMD ["run"]
