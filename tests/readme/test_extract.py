"""The README's commands: read as bash reads them, stored whole, counted."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.readme.extract import (
    VARIABLE,
    Block,
    ReadmeCommand,
    blocks,
    expand,
    exports,
    extract,
    sha256,
    stored,
    upstream,
    words,
)

README = upstream()
SHA256, COMMANDS = stored()

needs_readme = pytest.mark.skipif(README is None, reason="MMTRT_README names no README")
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")

# Says the words of every command instead of running it; variables stand for themselves.
SPY = r"""
set -f
exec 3>&1
PATH=/nonexistent
say() { printf '%s\037' "$@" >&3; printf '\036' >&3; }
command_not_found_handle() { say "$@"; }
export() { say export "$@"; }
cd() { say cd "$@"; }
"""


def bash_words(source: str, cwd: Path, missing: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """Ask bash for the words of each command.

    ``missing`` are the programs with a slash in their name: bash looks for these as files, and
    only says that there is none.
    """
    bash = shutil.which("bash")
    assert bash
    names = sorted(set(VARIABLE.findall(source)))
    stand_ins = "".join(f"{name}='${{{name}}}'\n" for name in names)
    done = subprocess.run(
        [bash, "-c", SPY + stand_ins + source.replace("`", "\\`") + "\n"],
        capture_output=True,
        text=True,
        cwd=cwd,
    )
    errors = done.stderr.splitlines()
    assert len(errors) == len(missing), done.stderr
    for error, program in zip(errors, missing):
        assert error.endswith(f": {program}: No such file or directory"), error
    return [tuple(record.split("\037")[:-1]) for record in done.stdout.split("\036")[:-1]]


def without_redirections(argv: tuple[str, ...]) -> tuple[str, ...]:
    for at, word in enumerate(argv):
        if word in (">", "<<"):
            return argv[:at]
    return argv


def fenced(*lines: str) -> str:
    return "\n".join(["## Section", "```bash", *lines, "```", ""])


def at_line(line: int) -> ReadmeCommand:
    (found,) = [command for command in COMMANDS if command.line == line]
    return found


@needs_readme
def test_stored_commands_are_what_the_readme_says() -> None:
    assert README is not None
    found = extract(README.read_text())
    assert [command.stored() for command in found] == [command.stored() for command in COMMANDS]
    assert sha256(README) == SHA256


def test_stored_commands_hold_no_text_of_the_readme() -> None:
    assert not any(command.text for command in COMMANDS)


def test_counts() -> None:
    assert Counter(command.kind for command in COMMANDS) == {
        "script": 98,
        "export": 28,
        "clone": 20,
        "pip": 6,
        "shell": 4,
        "stray": 4,
    }
    assert len({command.block for command in COMMANDS}) == 75


def test_script_commands_by_program() -> None:
    programs: Counter[str] = Counter()
    for command in COMMANDS:
        if command.kind == "script":
            word = command.argv[1] if command.argv[0].startswith("python") else command.argv[0]
            programs[Path(word).name] += 1
    assert programs == {
        "run.py": 24,
        "trtllm-build": 24,
        "build_multimodal_engine.py": 19,
        "convert_checkpoint.py": 19,
        "quantize.py": 6,
        "eval.py": 3,
        "quickstart_multimodal.py": 1,
        "trtllm-serve": 1,
        "mpirun": 1,
    }


def test_script_commands_by_section() -> None:
    assert Counter(command.section for command in COMMANDS if command.kind == "script") == {
        "BLIP2": 10,
        "CogVLM": 4,
        "Deplot": 4,
        "Fuyu": 4,
        "Gemma3": 2,
        "InternLM-XComposer2": 4,
        "InternVL2": 6,
        "Kosmos-2": 4,
        "LLaVA, LLaVa-NeXT, LLaVA-OneVision and VILA": 18,
        "MLLaMA": 9,
        "NeVA": 4,
        "Nougat": 4,
        "Phi-3-vision": 4,
        "Phi-4-multimodal": 4,
        "Qwen2-VL": 7,
        "Video NeVA": 4,
        "Dataset Evaluation": 1,
        "Enabling Tensor Parallelism for multi-GPU": 4,
        "Enabling Embedding Table Offloading": 1,
    }


def test_lines_run_on_with_the_file() -> None:
    lines = [command.line for command in COMMANDS]
    assert lines == sorted(set(lines))


@pytest.mark.parametrize(
    ("line", "last_word", "lost", "first_lost_word"),
    [
        (734, "video.mp4", 740, "--video_num_frames"),
        (1080, "--image_path=", 1085, "--audio_path="),
    ],
)
def test_a_forgotten_backslash_makes_two_commands(
    line: int, last_word: str, lost: int, first_lost_word: str
) -> None:
    assert at_line(line).kind == "script"
    assert at_line(line).argv[-1].startswith(last_word)
    assert at_line(lost).kind == "stray"
    assert at_line(lost).argv[0].startswith(first_lost_word)


@pytest.mark.parametrize("line", [256, 848])
def test_prose_in_a_fence_is_stray(line: int) -> None:
    assert at_line(line).kind == "stray"


def test_words_in_parentheses_stay_where_they_stand() -> None:
    argv = at_line(1213).argv
    assert argv[argv.index("--test_trtllm") + 1 :][:4] == ("(or", "--test_hf,", "or", "both)")


def test_a_trailing_backslash_before_the_fence_adds_nothing() -> None:
    assert at_line(1290).argv[-1] == "tmp/trt_engines/${MODEL_NAME}/fp16/2-gpu"


def test_backslash_n_stays_two_characters() -> None:
    assert r"\n Which city is this?" in at_line(708).argv


def test_exports_are_listed_in_order() -> None:
    section = "LLaVA, LLaVa-NeXT, LLaVA-OneVision and VILA"
    assert exports(COMMANDS, section) == {
        "MODEL_NAME": [
            "llava-1.5-7b-hf",
            "llava-v1.6-mistral-7b-hf",
            "llava-onevision-qwen2-7b-ov-hf",
            "vila1.5-3b",
        ],
        "VILA_PATH": ["tmp/hf_models/VILA"],
    }


def test_exports_expand_through_each_other() -> None:
    values = {name: found[-1] for name, found in exports(COMMANDS, "Phi-4-multimodal").items()}
    assert expand("${ENGINE_DIR}/llm", values) == (
        "tmp/trt_engines/Phi-4-multimodal-instruct/fp16/1-gpu/llm"
    )
    assert expand("${UNKNOWN}/${MODEL_NAME}", values) == "${UNKNOWN}/Phi-4-multimodal-instruct"


def test_an_export_that_names_itself_ends() -> None:
    assert expand("${A}", {"A": "${A}/b"}) == "${A}/b"


EXAMPLES = {
    "continuation inside a word": ["run --a\\", "b c"],
    "continuation between words": ["run \\", "    --a 1"],
    "continuation before a blank line": ["run --a \\", "", "next"],
    "no continuation in a comment": ["run # more \\", "next"],
    "a hash inside a word": ["run a#b '#c' --d=#e"],
    "a hash after a join": ["run \\", "# gone", "next"],
    "a quote in a comment": ["run 1 # this's"],
    "continuation in double quotes": ['run "a\\', 'b"'],
    "none in single quotes": ["run 'a\\", "b'"],
    "a newline in quotes": ['run "a', 'b" c'],
    "backslash n": [r'run "\n a","\n b" \n'],
    "an escaped quote": [r"run \"a \'b"],
    "an escaped hash": [r"run \# a"],
    "a brace variable": ['export A="x/${B}"', "run ${A}/c"],
    "a backslash at the end": ["run a \\"],
}


@needs_bash
@pytest.mark.parametrize("lines", EXAMPLES.values(), ids=EXAMPLES)
def test_words_are_those_of_bash(lines: list[str], tmp_path: Path) -> None:
    found = [command.argv for command in extract(fenced(*lines))]
    assert found == bash_words("\n".join(lines), tmp_path)


@needs_bash
@needs_readme
def test_every_block_is_read_as_bash_reads_it(tmp_path: Path) -> None:
    assert README is not None
    readme = README.read_text()
    commands = extract(readme)
    compared = 0
    for number, block in enumerate(blocks(readme)):
        ours = [without_redirections(c.argv) for c in commands if c.block == number]
        if any("<model_type>" in argv for argv in ours):
            continue  # bash takes <model_type> for a file to read and stops at the parenthesis
        missing = [argv[0] for argv in ours if "/" in argv[0]]
        said = bash_words("\n".join(block.lines), tmp_path, missing)
        assert said == [argv for argv in ours if argv[0] not in missing], block.first_line
        compared += 1
    assert compared == 74


def test_a_heredoc_belongs_to_its_command() -> None:
    lines = ["cat > file << 'EOF'", "python run.py", "EOF", "python run.py"]
    heredoc, run = extract(fenced(*lines))
    assert heredoc.argv == ("cat", ">", "file", "<<", "EOF")
    assert heredoc.text.splitlines() == lines[:3]
    assert (run.kind, run.line) == ("script", 6)


def test_a_lone_quote_does_not_stop_the_reading() -> None:
    assert words("it's prose") == ("it's", "prose")


def test_only_fences_of_bash_or_of_no_language_count() -> None:
    readme = "## A\n```python\nx = 1\n```\n## B\n  ```\n  run\n ```\n"
    assert list(blocks(readme)) == [Block(7, "B", ("  run",))]
