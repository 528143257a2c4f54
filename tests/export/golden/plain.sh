#!/usr/bin/env bash
# cogvlm chat as plain commands: trtllm tensorrt-llm 1.2.1
# mmtrt VERSION: mmtrt export recipe=cogvlm --format sh
#
# For a machine with TensorRT-LLM 1.2.1, such as its container; mmtrt is not needed.
# The same steps are in examples/models/core/multimodal/README.md there, section
# CogVLM.
#
# Each block is one stage; it writes to $OUT/<stage>/<model name>. A stage that has a .done
# marker is skipped: remove the marker, and those of the stages that read from it, to run
# it again. These may be set from outside:
#
#   OUT       where everything goes
#   PYTHON    interpreter that has TensorRT-LLM
#   EXAMPLES  TensorRT-LLM's directory examples, of that version
set -euo pipefail

OUT=${OUT:-outputs/cogvlm-chat}
PYTHON=${PYTHON:-python3}

unset CDPATH
mkdir -p -- "$OUT"
OUT=$(cd -- "$OUT" && pwd)
case $PYTHON in
  */*) PYTHON=$(cd -- "$(dirname -- "$PYTHON")" && pwd)/${PYTHON##*/} ;;
esac
export PYTHONUNBUFFERED=1

# What each stage writes
ALL_DIR="$OUT"/'all/a model'"'"'s name'
SOME_DIR="$OUT"/'some/a model'"'"'s name'
FILE_DIR="$OUT"/'file/a model'"'"'s name'
FOLDER_DIR="$OUT"/'folder/a model'"'"'s name'
CODE_DIR="$OUT"/'code/a model'"'"'s name'
PART_DIR="$OUT"/'part/a model'"'"'s name'
ENV_DIR="$OUT"/'env/a model'"'"'s name'
OPTIONS_DIR="$OUT"/'options/a model'"'"'s name'
PATCH_DIR="$OUT"/'patch/a model'"'"'s name'
ASSEMBLE_DIR="$OUT"/'assemble/a model'"'"'s name'
SERVE_DIR="$OUT"/'serve/a model'"'"'s name'

# TensorRT-LLM's example scripts
EXAMPLES=${EXAMPLES:-/app/examples}
case $EXAMPLES in /*) ;; *) EXAMPLES=$PWD/$EXAMPLES ;; esac

# Your own files
FILE_MODEL='/my/model $1.nemo'
FOLDER_MODEL='/my/it'"'"'s'

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

link_tree() {  # FROM TO: show the files of FROM below TO too: hard links, else symbolic ones
  mkdir -p -- "$2"
  cp -al -- "$1/." "$2/" 2> /dev/null || cp -asf -- "$1/." "$2/"
}

make_env() {  # DIR: an environment over the packages of $PYTHON, which may itself be in one
  local packages
  "$PYTHON" -m venv --system-site-packages --without-pip "$1"
  packages=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  "$PYTHON" -c 'import site; print(*site.getsitepackages(), sep="\n")' > "$packages/zz_host.pth"
}

is_ready() {  # URL: whether a server answers there
  curl --silent --fail --noproxy '*' --max-time 5 --output /dev/null "$1/health"
}

await_server() {  # PID URL SECONDS: wait until a server is ready
  local end=$((SECONDS + $3))
  until is_ready "$2"; do
    if ! kill -0 "$1" 2> /dev/null; then
      echo "the server ended before it was ready" >&2
      exit 1
    elif [ "$SECONDS" -ge "$end" ]; then
      echo "the server was not ready within $3 s" >&2
      exit 1
    fi
    sleep 1
  done
}

ask() {  # URL TOKENS PROMPT [IMAGE]: ask a server, as OpenAI's clients do, and print the answer
  "$PYTHON" -I - "$@" << 'END'
import base64, json, mimetypes, pathlib, sys, urllib.request

url, tokens, prompt, *images = sys.argv[1:]
content = [{"type": "text", "text": prompt}]
for image in images:
    if "://" not in image:
        kind = mimetypes.guess_type(image)[0] or "application/octet-stream"
        data = base64.b64encode(pathlib.Path(image).read_bytes()).decode()
        image = f"data:{kind};base64,{data}"
    content.append({"type": "image_url", "image_url": {"url": image}})
call = urllib.request.build_opener(urllib.request.ProxyHandler({})).open  # no proxy in between
body = {
    "model": json.load(call(f"{url}/v1/models"))["data"][0]["id"],
    "messages": [{"role": "user", "content": content}],
    "max_tokens": int(tokens),
    "temperature": 0,
}
headers = {"Content-Type": "application/json"}
request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)
print(json.load(call(request))["choices"][0]["message"]["content"])
END
}

stop() {  # PID: end a server; by force if it does not obey
  local end=$((SECONDS + 30))
  kill "$1" 2> /dev/null || return 0
  while kill -0 "$1" 2> /dev/null && [ "$SECONDS" -lt "$end" ]; do
    sleep 0.2
  done
  kill -KILL "$1" 2> /dev/null || true
}

# all (download): fetch a model from a hub at a pinned revision, link a local directory, or make one
#   needs network
if [ ! -e "$OUT/all/.done" ]; then
  start all
  "$PYTHON" - "$ALL_DIR" << 'END'
import sys
from huggingface_hub import snapshot_download

snapshot_download(
    "an/owner's",
    revision="main",
    ignore_patterns=["*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.nemo"],
    local_dir=sys.argv[1],
)
END
  finish all "$ALL_DIR"
fi

# some (download): fetch a model from a hub at a pinned revision, link a local directory, or make one
#   needs network
if [ ! -e "$OUT/some/.done" ]; then
  start some
  hf download owner/name \
    --revision 'a b' \
    --exclude 'original/*' \
    --include '*.json' \
    --local-dir "$SOME_DIR"
  finish some "$SOME_DIR"
fi

# file (download): fetch a model from a hub at a pinned revision, link a local directory, or make one
#   reads model from model $1.nemo
if [ ! -e "$OUT/file/.done" ]; then
  start file "$FILE_DIR"
  ln -s -- "$FILE_MODEL" "$FILE_DIR/model.nemo"
  finish file "$FILE_DIR/model.nemo"
fi

# folder (download): fetch a model from a hub at a pinned revision, link a local directory, or make one
#   reads model from it's
if [ ! -e "$OUT/folder/.done" ]; then
  start folder "$FOLDER_DIR"
  cp -as -- "$FOLDER_MODEL"/. "$FOLDER_DIR"/
  finish folder "$FOLDER_DIR"
fi

# code (clone): take one commit of a git repository, without its history
#   needs network
if [ ! -e "$OUT/code/.done" ]; then
  start code "$CODE_DIR"
  (
    cd -- "$CODE_DIR"
    git init --quiet
    git remote add origin 'https://example.org/x y.git'
    git fetch --quiet --depth 1 origin v1
    GIT_LFS_SKIP_SMUDGE=1 git checkout --quiet FETCH_HEAD
    rm -rf .git
  )
  finish code "$CODE_DIR"
fi

# part (clone): take one commit of a git repository, without its history
#   needs network
if [ ! -e "$OUT/part/.done" ]; then
  start part "$PART_DIR"
  (
    cd -- "$PART_DIR"
    git init --quiet
    git remote add origin file:///x
    git fetch --quiet --depth 1 --filter=blob:none origin v1
    GIT_LFS_SKIP_SMUDGE=1 git checkout --quiet FETCH_HEAD -- 'a b' c
    rm -rf .git
  )
  finish part "$PART_DIR"/'a b' "$PART_DIR/c"
fi

# env: build a Python environment over this one, for stages that need other versions of packages
#   needs network
if [ ! -e "$OUT/env/.done" ]; then
  start env "$ENV_DIR"
  make_env "$ENV_DIR"
  "$PYTHON" -m pip --python "$ENV_DIR/bin/python" install \
    --requirement "$EXAMPLES/x.txt" \
    transformers==4.45.2
  finish env "$ENV_DIR/bin/python"
fi

# options (write): write small text files that a tool reads, such as an options file
if [ ! -e "$OUT/options/.done" ]; then
  start options "$OPTIONS_DIR"
  mkdir -p -- "$OPTIONS_DIR"/'a b'
  cat > "$OPTIONS_DIR"/'a b/odd.txt' << 'END_3'
it's "odd" $HOME `id` \
END
	größer

END_2
END_3
  cat > "$OPTIONS_DIR/empty" << 'END'
END
  finish options "$OPTIONS_DIR"/'a b/odd.txt' "$OPTIONS_DIR/empty"
fi

# patch: change lines of a model's own code on a copy, after checking what was there
#   reads model from some
if [ ! -e "$OUT/patch/.done" ]; then
  start patch "$PATCH_DIR"
  link_tree "$SOME_DIR"/'sub dir' "$PATCH_DIR"
  "$PYTHON" -I - "$PATCH_DIR" << 'END'
import hashlib, pathlib, sys

EDITS = [
    {
        "file": "visual.py",
        "before":
            "import xformers.ops as xops\n",
        "after":
            "",
        "before_sha256": "0000000000000000000000000000000000000000000000000000000000000000",
    },
    {
        "file": "odd name.py",
        "before":
            "it's \"odd\" $HOME `id` \\\n"
            "END\n"
            "\tgrößer\n"
            "\n"
            "END_2\n",
        "after":
            "it's \"odd\" $HOME `id` \\\n"
            "END\n"
            "\tgrößer\n"
            "\n"
            "END_2\n"
            "more",
    },
]

for edit in EDITS:
    path = pathlib.Path(sys.argv[1], edit["file"])
    content, mode = path.read_bytes(), path.stat().st_mode
    before, after = edit["before"].encode(), edit["after"].encode()
    if before not in content or content.find(before) != content.rfind(before):
        sys.exit(f"{edit['file']} must have this text exactly once:\n{edit['before']}")
    changed = content.replace(before, after)
    for key, seen in (("before_sha256", content), ("after_sha256", changed)):
        if key in edit and edit[key] != hashlib.sha256(seen).hexdigest():
            sys.exit(f"{edit['file']} is another file than the edit is for: its {key} differs")
    path.unlink()  # a link to the original, which stays as it is
    path.write_bytes(changed)
    path.chmod(mode)
END
  finish patch "$PATCH_DIR/visual.py" "$PATCH_DIR"/'odd name.py'
fi

# assemble: lay the parts of an engine directory side by side, by link
#   reads llm/encoder from patch, it's from options
if [ ! -e "$OUT/assemble/.done" ]; then
  start assemble "$ASSEMBLE_DIR"
  link_tree "$PATCH_DIR" "$ASSEMBLE_DIR/llm/encoder"
  link_tree "$OPTIONS_DIR" "$ASSEMBLE_DIR"/'it'"'"'s'
  finish assemble "$ASSEMBLE_DIR/llm/encoder" "$ASSEMBLE_DIR"/'it'"'"'s'
fi

# serve: start a server, wait until it is ready, ask it once, and stop it
#   reads model from patch; needs 1 GPU
#   runs every time
start serve "$SERVE_DIR"
cd -- "$OUT/serve/.work"
if is_ready http://127.0.0.1:8000; then
  echo "another server is at http://127.0.0.1:8000" >&2
  exit 1
fi
HF_HUB_OFFLINE=1 trtllm-serve "$PATCH_DIR" \
  --backend pytorch \
  --tp_size 1 \
  --port 8000 \
  --max_batch_size 4 &
server=$!
trap 'stop "$server"' EXIT
await_server "$server" http://127.0.0.1:8000 600
ask http://127.0.0.1:8000 8 'it'"'"'s' 'https://example.org/x y.png'
ask http://127.0.0.1:8000 8 -n 'https://example.org/x y.png'
echo "the server stays until Ctrl-C" >&2
wait "$server"
stop "$server"
trap - EXIT
cd -- "$OUT"
finish serve

echo "done: $OUT" >&2
