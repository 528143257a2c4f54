#!/usr/bin/env bash
# llava_next mistral_7b as plain commands: trtllm tensorrt-llm 1.2.1
# mmtrt VERSION: mmtrt export --format sh
#
# Each block is one stage; it writes to $OUT/<stage>/<model name>. A stage that has a
# .done marker is skipped: remove the marker to run it again. These may be set from
# outside: OUT, and PYTHON, an interpreter that has mmtrt and the toolchain.
set -euo pipefail

OUT=${OUT:-outputs/llava_next-mistral_7b}
PYTHON=${PYTHON:-python3}
EXAMPLES=${EXAMPLES:-/app/tensorrt_llm/examples}

mkdir -p -- "$OUT"
OUT=$(CDPATH= cd -- "$OUT" && pwd)
case $PYTHON in
  */*) PYTHON=$(CDPATH= cd -- "$(dirname -- "$PYTHON")" && pwd)/${PYTHON##*/} ;;
esac
export PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1

# What each stage writes
DOWNLOAD_DIR="$OUT/download/llava-v1.6-mistral-7b-hf"
CONVERT_DIR="$OUT/convert/llava-v1.6-mistral-7b-hf"
BUILD_VISION_DIR="$OUT/build_vision/llava-v1.6-mistral-7b-hf"
BUILD_LLM_DIR="$OUT/build_llm/llava-v1.6-mistral-7b-hf"
ASSEMBLE_DIR="$OUT/assemble/llava-v1.6-mistral-7b-hf"
RUN_DIR="$OUT/run/llava-v1.6-mistral-7b-hf"

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
    "$PYTHON" -m mmtrt.tasks.download \
      --output-dir "$DOWNLOAD_DIR" \
      --repo-id llava-hf/llava-v1.6-mistral-7b-hf \
      --revision 144bfb964d4eef1502a22af4c5ff20d0d4a94cc1 \
      --include '*.json' '*.safetensors' 'tokenizer.*' '*.jinja'
  )
  finish download
fi

# convert: turn a Hugging Face model into one checkpoint per component, sharded per rank
#   reads model from download
if [ ! -e "$OUT/convert/.done" ]; then
  start convert "$CONVERT_DIR"
  (
    cd -- "$OUT/convert/.work"
    export HF_HUB_OFFLINE=1
    "$PYTHON" "$EXAMPLES/models/core/llama/convert_checkpoint.py" \
      --model_dir "$DOWNLOAD_DIR" \
      --output_dir "$CONVERT_DIR" \
      --dtype float16 \
      --tp_size 2
  )
  finish convert "$CONVERT_DIR/config.json"
fi

# quantize: skipped, quant=none

# build_vision: build the vision encoder's engine for the largest batch of images it must serve
#   reads model from download; needs 1 GPU
if [ ! -e "$OUT/build_vision/.done" ]; then
  start build_vision "$BUILD_VISION_DIR"
  (
    cd -- "$OUT/build_vision/.work"
    export HF_HUB_OFFLINE=1
    "$PYTHON" "$EXAMPLES/models/core/multimodal/build_multimodal_engine.py" \
      --model_path "$DOWNLOAD_DIR" \
      --output_dir "$BUILD_VISION_DIR" \
      --model_type llava_next \
      --max_batch_size 5
  )
  finish build_vision "$BUILD_VISION_DIR/config.json"
fi

# build_llm: build the language model's engine for the limits it must serve
#   reads checkpoint from convert; needs 2 GPUs
if [ ! -e "$OUT/build_llm/.done" ]; then
  start build_llm "$BUILD_LLM_DIR"
  (
    cd -- "$OUT/build_llm/.work"
    export HF_HUB_OFFLINE=1
    trtllm-build \
      --checkpoint_dir "$CONVERT_DIR" \
      --output_dir "$BUILD_LLM_DIR" \
      --gpt_attention_plugin=float16 \
      --gemm_plugin=float16 \
      --use_fused_mlp=enable \
      --max_batch_size 1 \
      --max_input_len 4096 \
      --max_seq_len 5120 \
      --max_num_tokens 4096 \
      --max_multimodal_len 4096 \
      --workers 2
  )
  finish build_llm "$BUILD_LLM_DIR/config.json"
fi

# assemble: lay the parts of an engine directory side by side, by link
#   reads llm from build_llm, vision from build_vision
if [ ! -e "$OUT/assemble/.done" ]; then
  start assemble "$ASSEMBLE_DIR"
  (
    cd -- "$OUT/assemble/.work"
    export HF_HUB_OFFLINE=1
    "$PYTHON" -m mmtrt.tasks.assemble \
      --output-dir "$ASSEMBLE_DIR" \
      --part llm="$BUILD_LLM_DIR" \
      --part vision="$BUILD_VISION_DIR"
  )
  finish assemble "$ASSEMBLE_DIR/llm" "$ASSEMBLE_DIR/vision"
fi

# run: ask the engines one actual request and keep the answer
#   reads model from download, engine from assemble; needs 2 GPUs; needs network
if [ ! -e "$OUT/run/.done" ]; then
  start run "$RUN_DIR"
  (
    cd -- "$OUT/run/.work"
    mpirun -n 2 "$PYTHON" "$EXAMPLES/models/core/multimodal/run.py" \
      --max_new_tokens 30 \
      --hf_model_dir "$DOWNLOAD_DIR" \
      --engine_dir "$ASSEMBLE_DIR" \
      --input_text '\n Which city is this?'
  )
  finish run
fi

echo "done: $OUT" >&2
