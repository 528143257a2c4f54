"""Read a data set of pictures, questions and answers: parquet files, or Arrow files on disk.

The layouts are those that ``datasets.load_dataset`` and ``datasets.load_from_disk`` read, so that
one directory serves ``eval.py`` too. Only the rows that are asked are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from mmtrt.native.errors import NativeError, in_one_line
from mmtrt.native.eval_tasks import Question, Task, question_of

SAVED = "dataset_info.json"
"""Its presence tells a directory that ``save_to_disk`` wrote."""

# Source: datasets 3.1, data_files.py: words in a path that say which part a file holds.
_WORDS = {
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}


def read_questions(directory: Path, task: Task, most: int) -> Iterator[Question]:
    """Yield the first questions of a data set; files are opened one after the other.

    Args:
        directory: holds parquet files whose path names the task's split, or what ``save_to_disk``
            wrote.
        task: which columns are read.
        most: how many questions; fewer where the data set has fewer.

    Raises:
        NativeError: EVL202 no such file; EVL203 a file cannot be read or a column is missing;
            EVL204 a row cannot be asked; ENV201 if pyarrow is not installed.
    """
    if not directory.is_dir():
        raise NativeError(
            f"{directory}: no such directory", code="EVL202", fix="check --dataset-dir"
        )
    saved = (directory / SAVED).is_file()
    files = sorted(directory.rglob("*.arrow")) if saved else _parquet_files(directory, task)
    if not files:
        raise NativeError(f"{directory}: {SAVED} without data-*.arrow files", code="EVL202")
    asked = 0
    for path in files:
        for index, row in enumerate(islice(_rows(path, task, saved), most - asked)):
            asked += 1
            yield _question(path, index, task, row)
    if not asked:
        raise NativeError(f"{directory}: the data set has no rows", code="EVL202")


def pyarrow() -> Any:
    """Return the package with its parquet part.

    Raises:
        NativeError: ENV201, if it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as missing:
        raise NativeError(
            "the Python package pyarrow is not installed",
            code="ENV201",
            why="it reads and writes the files of data sets",
            fix="pip install 'mmtrt[eval]'",
        ) from missing
    return pyarrow


def _parquet_files(directory: Path, task: Task) -> list[Path]:
    """Return the files of the task's part, in the order of their names."""
    found = sorted(
        path
        for path in directory.rglob("*.parquet")
        if not any(part.startswith(".") for part in path.relative_to(directory).parts)
    )
    wanted = [path for path in found if _is_part(path.relative_to(directory), task.split)]
    if not wanted:
        there = ", ".join(path.name for path in found[:3]) if found else "no parquet file at all"
        raise NativeError(
            f"{directory}: no parquet file of the part {task.split}",
            code="EVL202",
            why=f"{task.name} asks that part, and the file names say which part they hold; "
            f"there is {there}",
            fix=f"call a file {task.split}.parquet, or data/{task.split}-00000-of-00001.parquet",
        )
    return wanted


def _is_part(path: Path, split: str) -> bool:
    words = str(path.with_suffix("")).lower()
    for separator in "-_./ ":
        words = words.replace(separator, "\n")
    return bool(set(words.split("\n")) & set(_WORDS[split]))


def _rows(path: Path, task: Task, saved: bool) -> Iterator[Mapping[str, Any]]:
    """Yield rows, a few at a time: a file may hold thousands of pictures."""
    pa = pyarrow()
    try:
        if saved:
            with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
                _check_columns(path, reader.schema.names, task)
                for batch in reader:
                    yield from batch.select(task.columns).to_pylist()
        else:
            file = pa.parquet.ParquetFile(path)
            _check_columns(path, file.schema_arrow.names, task)
            for batch in file.iter_batches(batch_size=16, columns=list(task.columns)):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise NativeError(
            f"{path}: cannot be read: " + in_one_line(error), code="EVL203"
        ) from error


def _check_columns(path: Path, names: Sequence[str], task: Task) -> None:
    missing = [column for column in task.columns if column not in names]
    if missing:
        raise NativeError(
            f"{path}: no column {', '.join(missing)}",
            code="EVL203",
            why=f"a file of {task.name} has {', '.join(task.columns)}; "
            f"this one has {', '.join(names)}",
            fix="choose the eval.task whose columns these are",
        )


def _question(path: Path, index: int, task: Task, row: Mapping[str, Any]) -> Question:
    try:
        return question_of(task, row, _picture(path, row["image"]))
    except NativeError as error:
        error.at = f"{path}, row {index}"
        raise
    except (AttributeError, TypeError) as error:
        raise NativeError(
            f"a row has other types than {task.name}", code="EVL204", at=f"{path}, row {index}"
        ) from error


def _picture(path: Path, value: Any) -> bytes:
    """Return the bytes of a picture; a value with a path alone lies beside its file."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
        return value["bytes"]
    if isinstance(value, Mapping) and isinstance(value.get("path"), str):
        beside = path.parent / value["path"]
        if beside.is_file():
            return beside.read_bytes()
    raise NativeError("a row has no picture", code="EVL204")
