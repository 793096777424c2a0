#!/usr/bin/env bash
# All set-up in one go, the same for make, CI and the Docker images: Debian libraries, virtual environment, torch, posesynth.
# Usage: scripts/setup.sh VENV EXTRAS      e.g. scripts/setup.sh .venv all      (VENV "-" installs into the running Python)
# EXTRAS: render, train, test or all. TORCH=cpu or TORCH=cuda overrides what the machine suggests.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1 extras=$2

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# Blender's Python module links these even without a display; pyrender draws through EGL, with Mesa where there is no GPU
libraries="libX11.so.6:libx11-6 libXrender.so.1:libxrender1 libXfixes.so.3:libxfixes3 libXi.so.6:libxi6
  libxkbcommon.so.0:libxkbcommon0 libSM.so.6:libsm6 libICE.so.6:libice6 libXext.so.6:libxext6 libGL.so.1:libgl1
  libEGL.so.1:libegl1 libEGL_mesa.so.0:libegl-mesa0 libGLX_mesa.so.0:libglx-mesa0"
debian=()
if [[ $extras == *render* || $extras == *all* ]]; then
  known=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null || true)
  for pair in $libraries; do
    [[ $known == *"${pair%%:*}"* ]] || debian+=("${pair##*:}")
  done
fi
python=$(command -v python3.11 || command -v python3 || true)
[[ -n $python ]] || debian+=(python3 python3-venv)
if [[ $venv != - && -n $python ]] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  debian+=(python3-venv)
fi
if (( ${#debian[@]} )); then
  command="apt-get install -y --no-install-recommends ${debian[*]}"
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    say "$command"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $command >/dev/null
  else
    fail "system packages are missing; run: sudo $command"
  fi
fi

python=$(command -v python3.11 || command -v python3)
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [[ $extras == *render* || $extras == *all* ]] && [[ $version != 3.11 ]]; then
  fail "rendering needs Python 3.11 (Blender's bpy 4.5), found $version; install python3.11, or use the Docker images"
fi
if [[ $venv == - ]]; then
  bin=$(dirname "$python") pip=("$python" -m pip)
else
  [[ -x $venv/bin/python ]] || "$python" -m venv "$venv"
  bin=$venv/bin pip=("$venv/bin/python" -m pip)
fi
pip+=(--disable-pip-version-check -qq)
"${pip[@]}" install 'pip>=23.2'  # Debian 12's own would download every wheel just to read what it depends on
constraints=(-c scripts/constraints.txt)

# On a machine without an NVIDIA GPU the default torch would bring several GB of CUDA libraries
if [[ $extras == *train* || $extras == *smplx* || $extras == *all* ]] && ! "$bin/python" -c 'import torch' 2>/dev/null; then
  torch=$(grep '^torch==' scripts/constraints.txt)
  flavour=${TORCH:-$(nvidia-smi >/dev/null 2>&1 && echo cuda || echo cpu)}
  say "installing $torch for $flavour"
  if [[ $flavour == cpu && $("${pip[@]}" install --dry-run --report - "$torch") == *'"name": "nvidia-'* ]]; then
    # pip would take the CUDA build: uv knows where the CPU builds are
    "${pip[@]}" install uv
    "$bin/python" -m uv pip install --quiet --python "$bin/python" --torch-backend cpu "$torch" ||
      { say "no CPU build could be had; taking the CUDA build, which runs on a CPU as well"; "${pip[@]}" install "$torch"; }
  else
    "${pip[@]}" install "$torch"
  fi
fi
say "installing posesynth[$extras] and what it needs"
"${pip[@]}" install "${constraints[@]}" -e ".[$extras]"
say "done"
