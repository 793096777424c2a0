# The synthgen command: Blender and all it needs, no torch.
#     docker build -f docker/synthgen.Dockerfile -t posesynth/synthgen .
#     mkdir -p data
#     docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/data:/data" posesynth/synthgen render --recipe humans_dr.yaml --out /data/humans_dr
# BASE may be a CUDA runtime image of Debian or Ubuntu with Python 3.11 for rendering on a GPU (run with --gpus all).
ARG BASE=debian:bookworm-slim
FROM ${BASE}

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

# Any user may write there: docker run --user decides who owns what is made
RUN useradd --uid 1000 pose && mkdir /data /cache && chmod 1777 /data /cache
USER pose
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp SYNTHGEN_CACHE=/cache PYTHONUNBUFFERED=1
VOLUME ["/data", "/cache"]
WORKDIR /
ENTRYPOINT ["synthgen"]
