"""A plan made by hand, with one of everything that a command can hold; no recipe changes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from mmtrt.backends.base import Choice, Command, In, Local, Out, Pair, Python, Resources, Script
from mmtrt.plan.graph import Node, Plan
from mmtrt.stages import BuildLlm, Download, Quantize, Run, Stage
from tests.worlds import HOST, ShellBackend, recipe

MODEL = "a model's name"


@dataclass(frozen=True, kw_only=True)
class Odd(Stage):
    """A stage whose id needs quotes."""

    KIND: ClassVar[str] = "odd"


def small_plan() -> Plan:
    """Return download -> (quantize, skipped) -> llm -> run, and a stage on its own."""
    common = {"model_name": MODEL}
    base = recipe(variant="tiny")
    nodes = (
        Node(
            Download(id="download", **common),
            Command(
                argv=(Python(), "-m", "fetch", "--output-dir", Out(), "--include", "*.json"),
                resources=Resources(network=True),
            ),
        ),
        Node(
            Quantize(
                id="quantize",
                family="llava",
                format="none",
                dtype="float16",
                needs={"checkpoint": "download"},
                **common,
            ),
            None,
            "quant=none",
        ),
        Node(
            BuildLlm(
                id="llm",
                family="llava",
                engine="tensorrt",
                dtype="float16",
                max_batch_size=1,
                max_input_len=8,
                max_seq_len=16,
                needs={"checkpoint": "quantize"},
                **common,
            ),
            Command(
                argv=(
                    *("mpirun", "-n", "2", Python(), Script("/opt/the examples", "llama/build.py")),
                    *("--checkpoint", In("checkpoint", "llm"), "--output", Out("engines")),
                ),
                env={"TLLM_MODE": "a b"},
                outputs={"config": "engines/config.json", "odd": "it's here"},
                resources=Resources(gpus=2),
            ),
            None,
            {"checkpoint": "download"},
        ),
        Node(
            Run(
                id="run",
                family="llava",
                engine="tensorrt",
                max_new_tokens=4,
                **dict.fromkeys(("top_k", "top_p", "temperature", "repetition_penalty")),
                seed=0,
                needs={"engine": "llm", "model": "download"},
                **common,
            ),
            Command(
                argv=(
                    *(Python(), "-m", "ask", Pair("--engine=", In("engine"))),
                    *(
                        In("model", "it's a file"),
                        Pair("image=", Local("image0", "/my/red $1.png")),
                    ),
                    *('--input-text=say "it\'s"\n$HOME `x` \\', "--top-k", "1", ""),
                ),
                cwd=Out(),
                outputs={"result": "result.json"},
            ),
            None,
            {"engine": "llm", "model": "download"},
        ),
        Node(Odd(id="a/b c", **common), Command(argv=("true",))),
    )
    chosen = replace(base, overrides=("recipe=llava", "run.prompt=two\nlines"))
    return Plan(chosen, Choice(ShellBackend(), "tests", HOST), nodes)
