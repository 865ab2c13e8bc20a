#!/bin/sh
# Run a command with the engine version that Windows x64 gets: onnxruntime-genai 0.13.1.
#     benchmarks/with_genai_013.sh pytest -q tests/llm
# NEARFAR_GENAI_013_VENV names the environment; it is made when it is not there.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
venv=${NEARFAR_GENAI_013_VENV:-${TMPDIR:-/tmp}/nearfar-genai-013}

if [ ! -f "$venv/ready" ]; then
    uv venv --quiet --clear --python "${NEARFAR_PYTHON:-3.11}" "$venv"
    # Everything else as locked, so that only the engine differs.
    uv export --quiet --project "$root" --no-emit-project --no-hashes \
        --no-emit-package onnxruntime --no-emit-package onnxruntime-genai > "$venv/requirements.txt"
    VIRTUAL_ENV="$venv" uv pip install --quiet -r "$venv/requirements.txt" \
        onnxruntime==1.24.4 onnxruntime-genai==0.13.1
    VIRTUAL_ENV="$venv" uv pip install --quiet --no-deps --editable "$root"
    touch "$venv/ready"
fi
cd "$root"
PATH="$venv/bin:$PATH" exec "$@"
