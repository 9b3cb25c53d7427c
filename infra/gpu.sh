#!/usr/bin/env bash
# Measures what a GPU has to show (benchmarks/gpu) with a Python that has torch for CUDA and numpy:
# GPU_PYTHON, default python3. Smaller packages that it lacks are unpacked from the wheels that
# `make gpu-wheels` has put into .wheels; nothing is fetched. Arguments go to benchmarks.gpu.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${GPU_PYTHON:-python3}
refuse() { echo "gpu: $1" >&2; exit 2; }

command -v "$PYTHON" >/dev/null || refuse "$PYTHON is not on the PATH; pass GPU_PYTHON=/path/to/a/python/with/torch"
export PYTHONPATH="$PWD:$PWD/.wheels/site${PYTHONPATH:+:$PYTHONPATH}"
missing() { "$PYTHON" -c 'import sys; from importlib.util import find_spec; print(*(name for name in sys.argv[1:] if find_spec(name) is None))' "$@"; }

large=$(missing torch numpy)
[ -z "$large" ] || refuse "$PYTHON has no $large, expected torch 2.11 or newer for CUDA, and numpy; pass GPU_PYTHON=/path/to/a/python/with/torch"
small=$(missing pyarrow safetensors annotated_types)
if [ -n "$small" ]; then
    # shellcheck disable=SC2086 # several names
    "$PYTHON" -m pip install --quiet --no-index --no-deps --find-links .wheels --target .wheels/site $small \
        || refuse "$PYTHON has no $small, and .wheels has none that fit it; run \`make gpu-wheels GPU_PYTHON_VERSION=$("$PYTHON" -c 'import sys; print(*sys.version_info[:2], sep=".")')\` where there is a network, and carry .wheels here"
fi
exec "$PYTHON" -m benchmarks.gpu "$@"
