#!/usr/bin/env bash
# llava tiny as plain commands: native onnxruntime 1.0
# mmtrt VERSION: mmtrt export --format sh
#
# Each block is one stage; it writes to $OUT/<stage>/<model name>. A stage that has a
# .done marker is skipped: remove the marker to run it again. These may be set from
# outside: OUT, and PYTHON, an interpreter that has mmtrt and the toolchain.
set -euo pipefail

OUT=${OUT:-outputs/llava-tiny}
PYTHON=${PYTHON:-python3}

mkdir -p -- "$OUT"
OUT=$(CDPATH= cd -- "$OUT" && pwd)
case $PYTHON in
  */*) PYTHON=$(CDPATH= cd -- "$(dirname -- "$PYTHON")" && pwd)/${PYTHON##*/} ;;
esac
export PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1

# What each stage writes
DOWNLOAD_DIR="$OUT"/'download/a model'"'"'s $dir'
CONVERT_DIR="$OUT"/'convert/a model'"'"'s $dir'
QUANTIZE_DIR="$OUT"/'quantize/a model'"'"'s $dir'
BUILD_VISION_DIR="$OUT"/'build_vision/a model'"'"'s $dir'
BUILD_LLM_DIR="$OUT"/'build_llm/a model'"'"'s $dir'
ASSEMBLE_DIR="$OUT"/'assemble/a model'"'"'s $dir'
RUN_DIR="$OUT"/'run/a model'"'"'s $dir'

# Your own files
DOWNLOAD_MODEL='/home/me/a model'"'"'s $dir'
RUN_IMAGE0='/home/me/my "red" picture.png'
RUN_IMAGE1='/home/me/my "red" picture.png'
RUN_IMAGE2='/home/me/my "red" picture.png'
RUN_IMAGE3='/home/me/my "red" picture.png'

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
#   reads model from a model's $dir
if [ ! -e "$OUT/download/.done" ]; then
  start download "$DOWNLOAD_DIR"
  (
    cd -- "$OUT/download/.work"
    export HF_HUB_OFFLINE=1
    "$PYTHON" -m mmtrt.tasks.download \
      --output-dir "$DOWNLOAD_DIR" \
      --local-dir "$DOWNLOAD_MODEL" \
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
    "$PYTHON" -m mmtrt.native.convert \
      --model-dir "$DOWNLOAD_DIR" \
      --output-dir "$CONVERT_DIR" \
      --dtype float32
  )
  finish convert "$CONVERT_DIR/llm" "$CONVERT_DIR/vision"
fi

# quantize: quantize a checkpoint's weights, with calibration where the format needs it
#   reads checkpoint from convert
if [ ! -e "$OUT/quantize/.done" ]; then
  start quantize "$QUANTIZE_DIR"
  (
    cd -- "$OUT/quantize/.work"
    export HF_HUB_OFFLINE=1
    "$PYTHON" -m mmtrt.native.quantize \
      --checkpoint-dir "$CONVERT_DIR/llm" \
      --output-dir "$QUANTIZE_DIR/llm" \
      --format int8_wo \
      --block-size 32
  )
  finish quantize "$QUANTIZE_DIR/llm"
fi

# build_vision: build the vision encoder's engine for the largest batch of images it must serve
#   reads checkpoint from convert
if [ ! -e "$OUT/build_vision/.done" ]; then
  start build_vision "$BUILD_VISION_DIR"
  (
    cd -- "$OUT/build_vision/.work"
    export HF_HUB_OFFLINE=1
    "$PYTHON" -m mmtrt.native.build_vision \
      --checkpoint-dir "$CONVERT_DIR/vision" \
      --output-dir "$BUILD_VISION_DIR" \
      --engine onnxruntime \
      --max-batch-size 4
  )
  finish build_vision "$BUILD_VISION_DIR/config.json" "$BUILD_VISION_DIR/model.onnx"
fi

# build_llm: build the language model's engine for the limits it must serve
#   reads checkpoint from quantize
if [ ! -e "$OUT/build_llm/.done" ]; then
  start build_llm "$BUILD_LLM_DIR"
  (
    cd -- "$OUT/build_llm/.work"
    export HF_HUB_OFFLINE=1
    "$PYTHON" -m mmtrt.native.build_llm \
      --checkpoint-dir "$QUANTIZE_DIR/llm" \
      --output-dir "$BUILD_LLM_DIR" \
      --engine onnxruntime \
      --max-batch-size 4 \
      --max-input-len 96 \
      --max-seq-len 128 \
      --max-multimodal-len 144
  )
  finish build_llm "$BUILD_LLM_DIR/config.json" "$BUILD_LLM_DIR/model.onnx"
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
#   reads engine from assemble, model from download, image0 from my "red" picture.png, image1 from my "red" picture.png, image2 from my "red" picture.png, image3 from my "red" picture.png
if [ ! -e "$OUT/run/.done" ]; then
  start run "$RUN_DIR"
  (
    cd -- "$OUT/run/.work"
    export HF_HUB_OFFLINE=1
    "$PYTHON" -m mmtrt.native.run \
      --engine-dir "$ASSEMBLE_DIR" \
      --model-dir "$DOWNLOAD_DIR" \
      --output-dir "$RUN_DIR" \
      --image-path="$RUN_IMAGE0" \
      --image-path="$RUN_IMAGE1" \
      --image-path="$RUN_IMAGE2" \
      --image-path="$RUN_IMAGE3" \
      '--input-text=it'"'"'s "quoted"' \
      '--input-text=two
lines and a tab	' \
      '--input-text=$HOME `id` $(id) ${PATH} !! \n \' \
      '--input-text=-n --flag=1 ; rm -rf / # no comment' \
      --batch-size 4 \
      --max-new-tokens 30 \
      --top-k 1 \
      --top-p 0.0 \
      --temperature 1.0 \
      --repetition-penalty 1.0 \
      --seed 0
  )
  finish run "$RUN_DIR/result.json"
fi

echo "done: $OUT" >&2
