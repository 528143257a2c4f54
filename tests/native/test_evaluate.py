"""Evaluations: data sets in the columns of the three tasks, engines beside transformers, gates."""

from __future__ import annotations

import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from mmtrt.native.errors import NativeError
from mmtrt.native.eval_data import read_questions
from mmtrt.native.eval_tasks import TASKS, task_of
from mmtrt.native.make_questions import KINDS, make_questions
from mmtrt.report.scores import missed_gate, score_line
from tests.worlds import ROOT

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

MODEL = ROOT / "recipes/assets/llava_tiny"
VQA, AI2D, MME = "lmms-lab/VQAv2", "lmms-lab/ai2d", "lmms-lab/MME"
QUESTIONS = 22
"""No multiple of the batches below."""


def picture() -> dict[str, Any]:
    from PIL import Image

    buffer = BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": "0.png"}


def said(answer: str) -> dict[str, Any]:
    return {"answer": answer, "answer_confidence": "yes", "answer_id": 1}


# Rows as the hub's viewer shows them.
PUBLISHED: dict[str, dict[str, Any]] = {
    AI2D: {
        "question": "which of these define dairy item",
        "options": ["c", "D", "b", "a"],
        "answer": "1",
    },
    VQA: {
        "question_type": "what",
        "multiple_choice_answer": "net",
        "answers": [said("net"), said("netting"), said("net")],
        "image_id": 262148,
        "answer_type": "other",
        "question_id": 262148000,
        "question": "Where is he looking?",
    },
    MME: {
        "question_id": "code_reasoning/0020.png",
        "question": "Is a python code shown? Please answer yes or no.",
        "answer": "Yes",
        "category": "code_reasoning",
    },
}


def written(directory: Path, name: str, *rows: dict[str, Any], part: str | None = None) -> Path:
    path = directory / "data" / f"{part or task_of(name).split}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([{"image": picture(), **row} for row in rows]), path)
    return path


def questions(directory: Path, name: str, most: int = 99) -> list[Any]:
    return list(read_questions(directory, task_of(name), most))


def test_rows_of_the_published_tasks_are_asked_as_eval_py_asks_them(tmp_path):
    for name, row in PUBLISHED.items():
        written(tmp_path / name, name, row)
    (drawn,) = questions(tmp_path / AI2D, AI2D)
    assert drawn.text == "which of these define dairy item? (0) c (1) D (2) b (3) a"
    assert drawn.is_right(" It is 1.") and not drawn.is_right("D")
    (asked,) = questions(tmp_path / VQA, VQA)
    assert (asked.text, asked.answers) == ("Where is he looking?", ("net", "netting", "net"))
    assert asked.is_right("At the NET") and not asked.is_right("up")
    (closed,) = questions(tmp_path / MME, MME)
    assert closed.text.endswith("yes or no.?")
    assert closed.is_right("YES") and not closed.is_right("No")
    assert {each.picture for each in (drawn, asked, closed)} == {picture()["bytes"]}


@pytest.mark.parametrize("name", TASKS)
def test_a_drawn_data_set_has_the_columns_and_is_the_same_every_time(name, tmp_path):
    for place in ("a", "b"):
        make_questions(name, tmp_path / place, count=QUESTIONS, seed=3)
    (path,) = (tmp_path / "a").rglob("*.parquet")
    assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
    table = pq.read_table(path)
    assert table.num_rows == QUESTIONS
    assert set(table.column_names) == {*PUBLISHED[name], "image"}
    published = pa.Table.from_pylist([{"image": picture(), **PUBLISHED[name]}]).schema
    for field in published:
        kind = table.schema.field(field.name).type
        # Of a struct the order of the fields is the writer's.
        assert kind == field.type or pa.types.is_list(kind), field
    found = questions(tmp_path / "a", name)
    assert len(found) == QUESTIONS
    assert len({question.picture for question in found}) == -(-QUESTIONS // len(KINDS))
    make_questions(name, tmp_path / "c", count=QUESTIONS, seed=4)
    assert questions(tmp_path / "c", name) != found


@pytest.mark.parametrize("name", TASKS)
def test_the_package_that_eval_py_uses_reads_a_drawn_data_set(name, tmp_path):
    datasets = pytest.importorskip("datasets")
    make_questions(name, tmp_path / "d", count=5, seed=0)
    rows = datasets.load_dataset(
        str(tmp_path / "d"), split=task_of(name).split, cache_dir=str(tmp_path / "cache")
    )
    ours = questions(tmp_path / "d", name)
    assert [row["question"] for row in rows] == [question.text for question in ours]
    assert rows[0]["image"].size == (96, 96)
    rows.save_to_disk(str(tmp_path / "saved"))
    assert questions(tmp_path / "saved", name) == ours


def test_what_save_to_disk_wrote_is_read(tmp_path):
    table = pa.Table.from_pylist([{"image": picture(), **PUBLISHED[MME]}] * 3)
    (tmp_path / "dataset_info.json").write_text("{}")
    with pa.ipc.new_stream(tmp_path / "data-00000-of-00001.arrow", table.schema) as stream:
        stream.write_table(table)
    assert len(questions(tmp_path, MME)) == 3
    assert len(questions(tmp_path, MME, 2)) == 2


def test_parts_and_files_follow_each_other(tmp_path):
    row = PUBLISHED[VQA]
    for number in (1, 0):
        path = tmp_path / f"data/validation-0000{number}-of-00002.parquet"
        written(tmp_path, VQA, {**row, "question": f"Which {number}?"}).rename(path)
    written(tmp_path, VQA, {**row, "question": "Not this?"}, part="train")
    assert [q.text for q in questions(tmp_path, VQA)] == ["Which 0?", "Which 1?"]


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (None, "EVL202", "no parquet file of the part test; "),
        ("train", "EVL202", "there is train-00000-of-00001.parquet"),
        ("broken", "EVL203", "cannot be read"),
        ("column", "EVL203", "no column answer"),
        ("empty", "EVL202", "has no rows"),
        ({"answer": None}, "EVL204", "has no answer"),
        ({"question": ""}, "EVL204", "has no question"),
        ({"image": None}, "EVL204", "has no picture"),
        ({"image": {"bytes": None, "path": "gone.png"}}, "EVL204", "has no picture"),
    ],
)
def test_what_cannot_be_read_is_told(change, code, says, tmp_path):
    rows = [PUBLISHED[MME]] * 2
    if change is None:
        (tmp_path / "data").mkdir()
        says = says.rstrip("; ")
    elif change == "column":
        written(tmp_path, MME, *({k: v for k, v in row.items() if k != "answer"} for row in rows))
    elif change == "empty":
        path = written(tmp_path, MME, *rows)
        pq.write_table(pq.read_table(path).slice(0, 0), path)
    elif isinstance(change, dict):
        written(tmp_path, MME, rows[0], {**rows[1], **change})
    else:
        path = written(tmp_path, MME, *rows, part="train" if change == "train" else None)
        if change == "broken":
            path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(NativeError) as caught:
        questions(tmp_path, MME)
    assert caught.value.code == code and says in caught.value.render()
    if isinstance(change, dict):
        assert "row 1" in caught.value.render()


def test_the_columns_of_another_task_are_told(tmp_path):
    written(tmp_path, MME, PUBLISHED[AI2D])
    with pytest.raises(NativeError, match=r"EVL203(?s:.)*has question, answers, image") as caught:
        questions(tmp_path, VQA) if (tmp_path / "data").rename(tmp_path / "validation") else None
    assert "options" in caught.value.render()


def test_an_unknown_task_is_told(tmp_path, refused):
    from mmtrt.native import evaluate, make_questions

    flags = ("--task", "lmms-lab/VQA", "--output-dir", tmp_path)
    assert "EVL201" in refused(make_questions.main, *flags)
    places = ("--engine-dir", tmp_path, "--model-dir", tmp_path, "--dataset-dir", tmp_path)
    assert "use one of: lmms-lab/ai2d" in refused(evaluate.main, *places, *flags)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(NativeError, match=r"pip install 'mmtrt\[eval\]'"):
        make_questions(VQA, tmp_path, count=1, seed=0)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Path:
    """Return engines of the trained model that ships, and a data set."""
    from mmtrt.native import build_llm, build_vision, convert

    place = tmp_path_factory.mktemp("shipped")
    limits = ("--max-batch-size", "4", "--max-input-len", "96", "--max-seq-len", "128")
    checkpoint, engines = place / "checkpoint", place / "engines"
    assert convert.main(["--model-dir", str(MODEL), "--output-dir", str(checkpoint)]) == 0
    for name, stage, flags in (("llm", build_llm, limits), ("vision", build_vision, limits[:2])):
        where = ("--checkpoint-dir", checkpoint / name, "--output-dir", engines / name)
        assert stage.main([*map(str, where), *flags]) == 0
    make_questions(VQA, place / "questions", count=QUESTIONS, seed=0)
    return place


def scores(shipped: Path, output: Path, *flags: object, data: Path | None = None) -> Any:
    from mmtrt.native import evaluate

    places = ("--engine-dir", shipped / "engines", "--model-dir", MODEL, "--output-dir", output)
    given = ("--dataset-dir", data or shipped / "questions", "--max-new-tokens", 8)
    task = () if "--task" in flags else ("--task", VQA)
    assert evaluate.main([str(flag) for flag in (*places, *given, *task, *flags)]) == 0
    return json.loads((output / "scores.json").read_text())


def test_engines_answer_as_transformers_and_right(shipped, tmp_path, capsys):
    found = scores(shipped, tmp_path, "--test-hf", "--max-ite", 8, "--accuracy-threshold", 100)
    assert found == {
        "task": VQA,
        "samples": 8,
        "accuracy": 100.0,
        "baseline": 100.0,
        "threshold": 100.0,
        "passed": True,
        "same_answers": 8,
    }
    assert "8 of 8: engines 8 right, Hugging Face 8 right" in capsys.readouterr().err
    answers = json.loads((tmp_path / "answers.json").read_text())["questions"]
    assert [row["engines"] for row in answers] == [row["hf"] for row in answers]
    assert len({row["engines"]["text"] for row in answers}) > 4
    assert score_line(found).endswith("threshold 100 % met (8 questions, 8 answered alike)")


@pytest.mark.parametrize("name", TASKS)
def test_every_task_and_batch_gives_the_same_answers(name, shipped, tmp_path):
    data = shipped / "questions"
    if name != VQA:
        data = tmp_path / "questions"
        make_questions(name, data, count=QUESTIONS, seed=0)
    asked = ("--task", name, "--batch-size", 4, "--max-ite", 50)
    found = scores(shipped, tmp_path / "many", *asked, data=data)
    assert (found["samples"], found["accuracy"], found["baseline"]) == (QUESTIONS, 100.0, None)


def test_wrong_answers_miss_the_gate(shipped, tmp_path):
    path = next((shipped / "questions").rglob("*.parquet"))
    rows = pq.read_table(path).slice(0, 4).to_pylist()
    rows[1]["answers"] = [said("dodecahedron")]
    data = written(tmp_path, VQA, *rows).parent
    gate = ("--accuracy-threshold", 75.01, "--max-ite", 4)
    found = scores(shipped, tmp_path / "low", *gate, data=data)
    assert (found["accuracy"], found["passed"]) == (75.0, False)
    missed = missed_gate([{"stage": "eval", **found}])
    assert missed is not None and missed.exit_code == 3
    assert scores(shipped, tmp_path / "high", "--accuracy-threshold", 75, data=data)["passed"]


def test_a_question_beyond_a_limit_is_named(shipped, tmp_path, refused):
    from mmtrt.native import evaluate

    row = {**PUBLISHED[VQA], "question": "Why " * 90}
    data = written(tmp_path, VQA, PUBLISHED[VQA], row).parent
    places = ("--engine-dir", shipped / "engines", "--model-dir", MODEL, "--dataset-dir", data)
    told = refused(evaluate.main, *places, "--output-dir", tmp_path / "o", "--task", VQA)
    assert "RUN203" in told and "at: question 2 of" in told
    assert not (tmp_path / "o").exists()


def test_the_original_model_alone(shipped, tmp_path):
    found = scores(shipped, tmp_path, "--no-test-engines", "--test-hf", "--max-ite", 4)
    assert (found["accuracy"], found["baseline"], found["passed"]) == (None, 100.0, True)


@pytest.mark.slow
def test_the_gate_decides_the_exit_code(tmp_path):
    """A whole run: data drawn, engines built and quantized, evaluated, the gate missed."""
    make_questions(VQA, tmp_path / "q", count=4, seed=0)
    path = next((tmp_path / "q").rglob("*.parquet"))
    rows = pq.read_table(path).to_pylist()
    rows[0]["answers"] = [said("dodecahedron")]
    written(tmp_path / "data", VQA, *rows)
    words = ["recipe=llava", "variant=tiny", f"eval.task={VQA}", "until=eval", "eval.test_hf=true"]
    words += [f"paths.store={tmp_path}/store", f"paths.runs={tmp_path}/runs"]

    def run(*more: str) -> Any:
        argv = [sys.executable, "-m", "mmtrt", *words, *more]
        return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path)

    good = run("eval.accuracy_threshold=100", "run.batch_size=4", "eval.max_ite=12")
    assert good.returncode == 0, good.stderr
    assert "100 %, Hugging Face 100 %, threshold 100 % met (12 questions, 12" in good.stdout
    low = run("eval.accuracy_threshold=76", f"eval.dataset_dir={tmp_path}/data", "--json")
    assert low.returncode == 3 and "EVL101" in low.stderr
    (score,) = json.loads(low.stdout)["scores"]
    assert (score["accuracy"], score["samples"], score["same_answers"]) == (75.0, 4, 4)
    packed = run("eval.accuracy_threshold=90", "quant=int4_wo", "eval.max_ite=40")
    assert packed.returncode == 0, packed.stderr
