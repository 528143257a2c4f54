"""Make a data set of drawn shapes and questions about them, in the columns of a published task.

The tiny LLaVA that ships knows these pictures, so its accuracy means something: a broken engine
loses it. The same seed gives the same rows; none of them occurred in the model's training. All
tasks ask the same questions: `options` of `ai2d` stay empty, and `answer` is a word. The columns
are those that `datasets.load_dataset` finds in the published files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtrt.native.errors import report
from mmtrt.native.eval_data import pyarrow
from mmtrt.native.eval_tasks import TASKS, task_of
from mmtrt.native.flags import add_directory, positive, stage_parser
from mmtrt.native.progress import mebibytes, say

if TYPE_CHECKING:
    from mmtrt.native.shapes import Scene

STREAM = "eval"
"""Of random scenes; the model was trained on another."""
KINDS = ("colour", "shape", "background", "side")
"""``eval.py`` ends every question with a question mark; the fifth kind is no question."""
SIDE_PX = 96
"""*Chosen*: every processor has to resize it."""


def make_questions(name: str, output_dir: Path, *, count: int, seed: int) -> None:
    """Write ``data/<split>-00000-of-00001.parquet``.

    Args:
        name: a key of ``TASKS``: whose columns the file has.
        output_dir: made if needed.
        count: rows; four of them share a picture.
        seed: of the pictures.

    Raises:
        NativeError: EVL201 if there is no such task; ENV201 if pyarrow is not installed.
    """
    task = task_of(name)
    pa = pyarrow()
    say(f"drawing pictures for {count} questions, seed {seed}")
    rows = _rows(name, count, seed)
    path = output_dir / "data" / f"{task.split}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=_schema(name, pa))
    pa.parquet.write_table(table, path)
    say(f"wrote {path.name}: {count} rows, {mebibytes(path.stat().st_size)}")


def _rows(name: str, count: int, seed: int) -> list[dict[str, Any]]:
    from mmtrt.native import shapes

    pictures = -(-count // len(KINDS))
    rows: list[dict[str, Any]] = []
    for number, scene in enumerate(islice(shapes.scenes(seed, STREAM), pictures)):
        image = {"bytes": _png(scene), "path": f"{number}.png"}
        for kind in KINDS:
            answer = shapes.answer(kind, scene)
            row = {"question": shapes.QUESTIONS[kind], "image": image}
            rows.append(row | _others(name, kind, answer, number, len(rows)))
    return rows[:count]


def _others(name: str, kind: str, answer: str, picture: int, row: int) -> dict[str, Any]:
    """Return the columns beside question and picture."""
    if name == "lmms-lab/ai2d":
        return {"options": [], "answer": answer}
    if name == "lmms-lab/MME":
        return {"question_id": f"{picture}.png", "answer": answer, "category": kind}
    said = {"answer": answer, "answer_confidence": "yes", "answer_id": 1}
    return {
        "question_type": "what",
        "multiple_choice_answer": answer,
        "answers": [said],
        "image_id": picture,
        "answer_type": "other",
        "question_id": row,
    }


def _schema(name: str, pa: Any) -> Any:
    """Return the columns, and what ``datasets`` must know to see pictures among them."""
    text, number = pa.string(), pa.int64()
    image = pa.struct([("bytes", pa.binary()), ("path", text)])
    said = pa.struct([("answer", text), ("answer_confidence", text), ("answer_id", number)])
    fields = {
        "lmms-lab/ai2d": [("options", pa.list_(text)), ("answer", text)],
        "lmms-lab/MME": [("question_id", text), ("answer", text), ("category", text)],
        "lmms-lab/VQAv2": [
            ("question_type", text),
            ("multiple_choice_answer", text),
            ("answers", pa.list_(said)),
            ("image_id", number),
            ("answer_type", text),
            ("question_id", number),
        ],
    }[name]
    fields = [("question", text), ("image", image), *fields]
    features = {column: _feature(kind, pa) for column, kind in fields} | {
        "image": {"_type": "Image"}
    }
    document = json.dumps({"info": {"features": features}})
    return pa.schema(fields, metadata={"huggingface": document})


def _feature(kind: Any, pa: Any) -> Any:
    """Return a column's type as ``datasets`` writes it."""
    if pa.types.is_list(kind):
        return [_feature(kind.value_type, pa)]
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type, pa) for field in kind}
    return {"dtype": str(kind), "_type": "Value"}


def _png(scene: Scene) -> bytes:
    from PIL import Image

    from mmtrt.native.shapes import draw

    buffer = BytesIO()
    Image.fromarray(draw(scene, SIDE_PX)).save(buffer, "PNG")
    return buffer.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; see ``--help``."""
    parser = stage_parser("make_questions", __doc__)
    parser.add_argument("--task", required=True, metavar="NAME", help=f"one of: {', '.join(TASKS)}")
    parser.add_argument("--count", type=positive, default=20, metavar="N", help="rows (default 20)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the pictures")
    add_directory(parser, "--output-dir", "where the data set is written")
    flags = parser.parse_args(argv)
    return report(
        lambda: make_questions(flags.task, flags.output_dir, count=flags.count, seed=flags.seed)
    )


if __name__ == "__main__":
    raise SystemExit(main())
