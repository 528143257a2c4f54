#!/usr/bin/env bash
# llava tiny as plain commands: shell 1
# mmtrt VERSION: mmtrt export recipe=llava 'run.prompt=two lines' --format sh
#
# Each block is one stage; it writes to $OUT/<stage>/<model name>. A stage that has a
# .done marker is skipped: remove the marker to run it again. These may be set from
# outside: OUT, and PYTHON, an interpreter that has mmtrt and the toolchain.
set -euo pipefail

OUT=${OUT:-outputs/llava-tiny}
PYTHON=${PYTHON:-python3}
EXAMPLES=${EXAMPLES:-'/opt/the examples'}

mkdir -p -- "$OUT"
OUT=$(CDPATH= cd -- "$OUT" && pwd)
case $PYTHON in
  */*) PYTHON=$(CDPATH= cd -- "$(dirname -- "$PYTHON")" && pwd)/${PYTHON##*/} ;;
esac
export PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1

# What each stage writes
DOWNLOAD_DIR="$OUT"/'download/a model'"'"'s name'
LLM_DIR="$OUT"/'llm/a model'"'"'s name'
RUN_DIR="$OUT"/'run/a model'"'"'s name'
A_B_C_DIR="$OUT"/'a_b_c/a model'"'"'s name'

# Your own files
RUN_IMAGE0='/my/red $1.png'

start() {  # STAGE DIR: make an empty output directory and an empty working directory
  echo "== $1" >&2
  rm -rf -- "$2" "$OUT/$1/.work"
  mkdir -p -- "$2" "$OUT/$1/.work"
}

finish() {  # STAGE PATH...: mark a stage as done if everything is there that it must write
  local stage=$1 path
  shift
  for path; do
    if [ ! -e "$path" ]; then
      echo "stage $stage did not write $path" >&2
      exit 1
    fi
  done
  rm -rf -- "$OUT/$stage/.work"
  : > "$OUT/$stage/.done"
}

# download: fetch a model from a hub at a pinned revision, or link a local directory
#   reads nothing; needs network
if [ ! -e "$OUT/download/.done" ]; then
  start download "$DOWNLOAD_DIR"
  (
    cd -- "$OUT/download/.work"
    "$PYTHON" -m fetch \
      --output-dir "$DOWNLOAD_DIR" \
      --include '*.json'
  )
  finish download
fi

# quantize: skipped, quant=none

# llm (build_llm): build the language model's engine for the limits it must serve
#   reads checkpoint from download; needs 2 GPUs
if [ ! -e "$OUT/llm/.done" ]; then
  start llm "$LLM_DIR"
  (
    cd -- "$OUT/llm/.work"
    export TLLM_MODE='a b'
    export HF_HUB_OFFLINE=1
    mpirun -n 2 "$PYTHON" "$EXAMPLES/llama/build.py" \
      --checkpoint "$DOWNLOAD_DIR/llm" \
      --output "$LLM_DIR/engines"
  )
  finish llm "$LLM_DIR/engines/config.json" "$LLM_DIR"/'it'"'"'s here'
fi

# run: ask the engines one actual request and keep the answer
#   reads engine from llm, model from download, image0 from red $1.png
if [ ! -e "$OUT/run/.done" ]; then
  start run "$RUN_DIR"
  (
    cd -- "$RUN_DIR"
    export HF_HUB_OFFLINE=1
    "$PYTHON" -m ask \
      --engine="$LLM_DIR" "$DOWNLOAD_DIR"/'it'"'"'s a file' image="$RUN_IMAGE0" \
      '--input-text=say "it'"'"'s"
$HOME `x` \' \
      --top-k 1 ''
  )
  finish run "$RUN_DIR/result.json"
fi

# a/b c (odd): a plan made by hand, with one of everything that a command can hold; no recipe changes it
#   reads nothing
if [ ! -e "$OUT/a_b_c/.done" ]; then
  start a_b_c "$A_B_C_DIR"
  (
    cd -- "$OUT/a_b_c/.work"
    export HF_HUB_OFFLINE=1
    true
  )
  finish a_b_c
fi

echo "done: $OUT" >&2
