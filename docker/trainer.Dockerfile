# The trainer command: torch and all it needs, no Blender.
#     docker build -f docker/trainer.Dockerfile -t posesynth/trainer .
#     docker run --rm --shm-size 1g -v "$PWD/data:/data" -v "$PWD/runs:/runs" posesynth/trainer run pretrain
# For a GPU: --build-arg TORCH=cuda, and run with --gpus all.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
ARG TORCH=cpu

RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-venv ca-certificates \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/posesynth
COPY pyproject.toml README.md LICENSE ./
COPY scripts scripts
COPY posecore posecore
COPY synthgen synthgen
COPY trainer trainer
COPY assets assets
COPY recipes recipes
RUN TORCH=${TORCH} scripts/setup.sh /opt/venv train \
 && rm -rf /var/lib/apt/lists/* /root/.cache

RUN useradd --create-home --uid 1000 pose && mkdir -p /data /runs && chown pose /data /runs
USER pose
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
VOLUME ["/data", "/runs"]
WORKDIR /
ENTRYPOINT ["trainer"]
