#!/usr/bin/env bash
# All that a GPU has to prove, in one go of at most ten minutes, on a machine with PyTorch and timm.
#
#   benchmarks/gpu_session.sh DATA OUT [BEFORE]
#
# DATA    folder with pneumoniamnist.npz
# OUT     folder for figures and logs
# BEFORE  folder with an older edgedx/, to measure in the same run
# Python packages that the machine lacks: put their wheels on PYTHONPATH before (pip install --target).
set -uo pipefail
cd "$(dirname "$0")/.."
data=$1 out=$2 before=${3:-}
export EDGEDX_DATA=$data PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" EDGEDX_CACHE="$out/cache"
mkdir -p "$out"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
timed() { # NAME COMMAND...: seconds from start to end, and the last lines
  local name=$1 began ended; shift
  began=$(date +%s.%N)
  "$@" > "$out/$name.log" 2>&1
  local code=$?
  ended=$(date +%s.%N)
  printf '== %s: %.1f s, exit %d\n' "$name" "$(echo "$ended - $began" | bc -l 2> /dev/null || python3 -c "print($ended - $began)")" $code
  tail -n "${LINES_SHOWN:-6}" "$out/$name.log" | cut -c1-300
}
run="$out/run"
rm -rf "$run"
timed finetune python3 -m edgedx finetune pneumonia-mnist --out "$run"
timed compress python3 ${PROFILE:+-m cProfile -o "$out/compress.prof"} -m edgedx compress "$run" --int8 --device x86-vnni
timed evaluate python3 -m edgedx evaluate "$run/teacher" --run "$run"
timed tests python3 -m pytest -q -p no:cacheprovider tests/lab/train/test_gpu.py tests/lab/train/test_feed.py
LINES_SHOWN=20 timed speed python3 benchmarks/training_speed.py --backbones ${BACKBONES:-tf_efficientnet_lite0} \
  --sides ${SIDES:-224} ${before:+--previous "$before"} --save "$out/training_speed.json"
