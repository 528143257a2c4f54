"""Functions that scripts define; a script gets those that it calls."""

from __future__ import annotations

import re

_ALWAYS = """\
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
"""

_LINK_TREE = """\
link_tree() {  # FROM TO: show the files of FROM below TO too: hard links, else symbolic ones
  mkdir -p -- "$2"
  cp -al -- "$1/." "$2/" 2> /dev/null || cp -asf -- "$1/." "$2/"
}
"""

_KEEP = """\
keep() {  # FILE PLACE: keep a tool's file for the next build, if there is one
  mkdir -p -- "$(dirname -- "$2")"
  if [ -e "$1" ]; then mv -f -- "$1" "$2"; fi
}
"""

_MAKE_ENV = """\
make_env() {  # DIR: an environment over the packages of $PYTHON, which may itself be in one
  local packages
  "$PYTHON" -m venv --system-site-packages --without-pip "$1"
  packages=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  "$PYTHON" -c 'import site; print(*site.getsitepackages(), sep="\\n")' > "$packages/zz_host.pth"
}
"""

_IS_READY = """\
is_ready() {  # URL: whether a server answers there
  curl --silent --fail --noproxy '*' --max-time 5 --output /dev/null "$1/health"
}
"""

_AWAIT_SERVER = """\
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
"""

_ASK = """\
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
"""

_STOP = """\
stop() {  # PID: end a server; by force if it does not obey
  local end=$((SECONDS + 30))
  kill "$1" 2> /dev/null || return 0
  while kill -0 "$1" 2> /dev/null && [ "$SECONDS" -lt "$end" ]; do
    sleep 0.2
  done
  kill -KILL "$1" 2> /dev/null || true
}
"""

_BY_NAME = {
    "link_tree": _LINK_TREE,
    "keep": _KEEP,
    "make_env": _MAKE_ENV,
    "is_ready": _IS_READY,
    "await_server": _AWAIT_SERVER,
    "ask": _ASK,
    "stop": _STOP,
}


def needed(script: str) -> list[str]:
    """Return the functions that a script calls."""
    called = [
        text for name, text in _BY_NAME.items() if re.search(rf"^[ 'a-z]*\b{name} ", script, re.M)
    ]
    return [_ALWAYS, *called]
