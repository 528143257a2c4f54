#!/usr/bin/env bash
# llava tiny as plain commands: shell 1
# mmtrt VERSION: mmtrt export recipe=llava 'run.prompt=two lines' --format sh
#
# Each block is one stage; it writes to $OUT/<stage>/<model name>. A stage that has a .done
# marker is skipped: remove the marker, and those of the stages that read from it, to run
# it again. These may be set from outside:
#
#   OUT       where everything goes
#   PYTHON    interpreter that has mmtrt and its toolchain
#   EXAMPLES  TensorRT-LLM's directory examples, of that version
set -euo pipefail

OUT=${OUT:-outputs/llava-tiny}
PYTHON=${PYTHON:-python3}

unset CDPATH
mkdir -p -- "$OUT"
OUT=$(cd -- "$OUT" && pwd)
case $PYTHON in
  */*) PYTHON=$(cd -- "$(dirname -- "$PYTHON")" && pwd)/${PYTHON##*/} ;;
esac
export PYTHONUNBUFFERED=1

# mpirun refuses to run as root unless it is told to
AS_ROOT=()
if [ "$(id -u)" = 0 ]; then AS_ROOT=(--allow-run-as-root); fi

# What each stage writes
DOWNLOAD_DIR="$OUT"/'download/a model'"'"'s name'
LLM_DIR="$OUT"/'llm/a model'"'"'s name'
RUN_DIR="$OUT"/'run/a model'"'"'s name'
A_B_C_DIR="$OUT"/'a_b_c/a model'"'"'s name'

# TensorRT-LLM's example scripts
EXAMPLES=${EXAMPLES:-'/opt/the examples'}
case $EXAMPLES in /*) ;; *) EXAMPLES=$PWD/$EXAMPLES ;; esac

# Your own files
RUN_IMAGE0='/my/red $1.png'

start() {  # STAGE [DIR]: make an empty working directory, and an empty output directory
  echo "== $1" >&2
  rm -rf -- "$OUT/$1/.work" ${2:+"$2"}
  mkdir -p -- "$OUT/$1/.work" ${2:+"$2"}
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

# download: fetch a model from a hub at a pinned revision, link a local directory, or make one
#   needs network
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
    TLLM_MODE='a b' HF_HUB_OFFLINE=1 mpirun -n 2 "${AS_ROOT[@]}" "$PYTHON" "$EXAMPLES/llama/build.py" \
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
    HF_HUB_OFFLINE=1 "$PYTHON" -m ask \
      --engine="$LLM_DIR" "$DOWNLOAD_DIR"/'it'"'"'s a file' image="$RUN_IMAGE0" \
      '--input-text=say "it'"'"'s"
$HOME `x` \' \
      --top-k 1 ''
  )
  finish run "$RUN_DIR/result.json"
fi

# a/b c (odd): a plan made by hand, with one of everything that a command can hold; no recipe changes it
if [ ! -e "$OUT/a_b_c/.done" ]; then
  start a_b_c "$A_B_C_DIR"
  (
    cd -- "$OUT/a_b_c/.work"
    HF_HUB_OFFLINE=1 true
  )
  finish a_b_c
fi

echo "done: $OUT" >&2
