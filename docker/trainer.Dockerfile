# The trainer command: torch and all it needs, no Blender.
#     docker build -f docker/trainer.Dockerfile -t posesynth/trainer .
#     mkdir -p data runs
#     docker run --rm --user "$(id -u):$(id -g)" --shm-size 1g -v "$PWD/data:/data" -v "$PWD/runs:/runs" posesynth/trainer run pretrain
# For a GPU: --build-arg TORCH=cuda, and run with --gpus all.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
ARG TORCH=cpu

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

# Any user may write there: docker run --user decides who owns what is made
RUN useradd --uid 1000 pose && mkdir /data /runs && chmod 1777 /data /runs
USER pose
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1
VOLUME ["/data", "/runs"]
WORKDIR /
ENTRYPOINT ["trainer"]
