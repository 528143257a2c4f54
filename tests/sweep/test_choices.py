"""Some points of a sweep in few words."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from mmtrt.report.choices import Choices, choices_of

WORDS = {
    str(i): ("recipe=llava", f"quant={quant}", f"tp={tp}", f"workload.batch_size={batch}")
    for i, (quant, tp, batch) in enumerate(itertools.product(["none", "fp8"], [1, 2], [1, 4, 8]))
}
POINTS = Choices(WORDS)


def test_what_varies_is_told_and_nothing_else():
    assert POINTS.varied == ("quant", "tp", "workload.batch_size")
    assert POINTS.label("4") == "quant=none tp=2 workload.batch_size=4"
    assert Choices({"0": ("recipe=llava",)}).label("0") == "point 0"


def test_values_are_read_as_people_mean_them():
    words = [
        "tp=2",
        "+x=null",
        "run.prompt='a b'",
        "~workload",
        "++y=true",
        "hydra/launcher=joblib",
    ]
    assert choices_of(words) == {
        "tp": 2,
        "x": None,
        "run.prompt": "'a b'",
        "~workload": None,
        "y": True,
    }


def test_points_are_called_by_what_they_have_in_common():
    having = [n for n, words in WORDS.items() if "quant=fp8" in words]
    assert POINTS.shortly(having) == "quant=fp8 (6 points)"
    both = [n for n in having if "tp=2" not in WORDS[n]]
    assert POINTS.shortly(both) == "quant=fp8 tp=1 (3 points)"
    assert POINTS.shortly(list(WORDS)) == "every point"
    assert POINTS.shortly(["0", "3"]) == "quant=none workload.batch_size=1 (2 points)"
    odd = POINTS.shortly(["0", "4"])
    assert odd == "quant=none tp=1 workload.batch_size=1; quant=none tp=2 workload.batch_size=4"
    many = POINTS.shortly(["0", "4", "7", "11", "2"])
    assert many.endswith("; 2 more")


@given(st.sets(st.sampled_from(sorted(WORDS)), min_size=2, max_size=len(WORDS) - 1))
def test_a_description_means_exactly_its_points(names):
    text = POINTS.shortly(sorted(names, key=int))
    if not text.endswith("points)"):
        return
    words = dict(word.split("=") for word in text.rsplit(" (", 1)[0].split(" "))
    meant = {
        name
        for name, chosen in POINTS.by_point.items()
        if all(str(chosen[key]) in values.split(",") for key, values in words.items())
    }
    assert meant == names


def test_a_key_that_some_points_lack_varies():
    choices = Choices({"0": ("tp=1",), "1": ("tp=1", "pp=2")})
    assert choices.varied == ("pp",)
    assert choices.label("0") == "point 0"
    assert choices.label("1") == "pp=2"
