#!/usr/bin/env bash
# Everything that needs an NVIDIA GPU, in one call: the check of every explanation graph, the tests
# marked `cuda`, and the benchmark beside zennit at batch 1 and 64, fp32 without TF32 on both sides.
#   tools/gpu_bench.sh                 all of it; results in gpu_check.json and gpu_bench.jsonl
#   tools/gpu_bench.sh check|tests|bench
# PYTHON       the interpreter (default: that of .venv, else python3)
# PEER_PYTHON  one of the same version with CUDA builds of torch and zennit (default: PYTHON)
# GPU_SITE     folder of onnxruntime-gpu with its CUDA libraries (default: one in /tmp); where it is
#              missing it is made by pip, apart from the `onnxruntime` of PYTHON, which it shadows.
# WHEELS       folder of wheels, for machines without a network.
# TENSORRT=1   the benchmark on the TensorRT provider too (its libraries must be found: TensorRT 10).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ -z "${PYTHON:-}" ]]; then
    PYTHON=python3
    [[ -x .venv/bin/python ]] && PYTHON=.venv/bin/python
fi
PEER_PYTHON="${PEER_PYTHON:-$PYTHON}"
GPU_SITE="${GPU_SITE:-${TMPDIR:-/tmp}/onnxruntime-gpu}"
part="${1:-all}"

unpack() {
    [[ -d "$GPU_SITE/onnxruntime" ]] && return
    local from=()
    [[ -n "${WHEELS:-}" ]] && from=(--no-index --find-links "$WHEELS")
    "$PYTHON" -m pip install "${from[@]}" --target "$GPU_SITE" "onnxruntime-gpu[cuda,cudnn]>=1.27"
}

check() { "$PYTHON" tools/gpu_check.py -o gpu_check.json; }

tests() { "$PYTHON" -m pytest -m cuda -q; }

bench() {
    local providers=(cuda)
    [[ "${TENSORRT:-0}" == 1 ]] && providers+=(tensorrt)
    "$PYTHON" tools/bench/explain.py --models resnet50 vit_b16 --batch 1 64 \
        --presets epsilon epsilon-plus epsilon-gamma-box epsilon-alpha2-beta1 attnlrp \
        --providers "${providers[@]}" --peers torch zennit captum --peer-python "$PEER_PYTHON" \
        --rounds 3 --peer-rounds 2 --repeats 20 --out gpu_bench.jsonl
}

unpack
export PYTHONPATH="$GPU_SITE${PYTHONPATH:+:$PYTHONPATH}"
status=0
for step in check tests bench; do
    if [[ "$part" == all || "$part" == "$step" ]]; then
        echo "== $step"
        "$step" || status=1
    fi
done
exit "$status"
