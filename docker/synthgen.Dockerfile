# The synthgen command: Blender and all it needs, no torch.
#     docker build -f docker/synthgen.Dockerfile -t posesynth/synthgen .
#     docker run --rm -v "$PWD/data:/data" posesynth/synthgen render --recipe humans_dr.yaml --out /data/humans_dr
# BASE may be a CUDA runtime image of Debian or Ubuntu with Python 3.11 for rendering on a GPU (run with --gpus all).
ARG BASE=debian:bookworm-slim
FROM ${BASE}

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
RUN scripts/setup.sh /opt/venv render \
 && rm -rf /var/lib/apt/lists/* /root/.cache

RUN useradd --create-home --uid 1000 pose && mkdir -p /data /cache && chown pose /data /cache
USER pose
ENV PATH=/opt/venv/bin:$PATH SYNTHGEN_CACHE=/cache PYTHONUNBUFFERED=1
VOLUME ["/data", "/cache"]
WORKDIR /
ENTRYPOINT ["synthgen"]
