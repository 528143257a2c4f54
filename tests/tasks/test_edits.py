from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmtrt.tasks.edits import Edit, apply_edits, by_file, parse_edits
from mmtrt.tasks.messages import TaskError

VISUAL = """\
import torch
from torch import nn
import xformers.ops as xops

class Attention(nn.Module):
    def forward(self, x):
        q, k, v = qkv[0], qkv[1], qkv[2]
        out = xops.memory_efficient_attention(
            q, k, v, scale=self.scale,
        )
        return self.dense(out)
"""
BEFORE = """\
        out = xops.memory_efficient_attention(
            q, k, v, scale=self.scale,
        )
"""
AFTER = "        out = self.attention(q, k, v)\n"


def edit(before: str = BEFORE, after: str = AFTER, **digests: str) -> Edit:
    return Edit("visual.py", before, after, **digests)


def failure(content: str, *edits: Edit) -> TaskError:
    with pytest.raises(TaskError) as caught:
        apply_edits(content.encode(), edits)
    return caught.value


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_text_is_replaced() -> None:
    patched = apply_edits(VISUAL.encode(), [edit(), edit("import xformers.ops as xops\n", "")])
    assert patched.decode() == VISUAL.replace(BEFORE, AFTER).replace(
        "import xformers.ops as xops\n", ""
    )


def test_digests_are_of_the_file_as_each_edit_sees_it() -> None:
    between = VISUAL.replace(BEFORE, AFTER)
    first = edit(before_sha256=sha256(VISUAL), after_sha256=sha256(between))
    second = edit("import torch\n", "", before_sha256=sha256(between))
    assert apply_edits(VISUAL.encode(), [first, second])


def test_text_that_differs_is_shown_beside_what_was_expected() -> None:
    content = VISUAL.replace("scale=self.scale,", "scale=self.softmax_scale, p=0.0,")
    assert (
        failure(content, edit()).render()
        == """\
error[ART102]: the text to replace is not in `visual.py`
  why: the file is of another revision than the one that the edit was written for
  expected:
    |         out = xops.memory_efficient_attention(
    |             q, k, v, scale=self.scale,
    |         )
  found, nearest, from line 8:
    |         out = xops.memory_efficient_attention(
    |             q, k, v, scale=self.softmax_scale, p=0.0,
    |         )
  fix: pin the revision that the edit was written for (model.revision), or renew `before` \
from this file"""
    )


def test_nothing_like_it() -> None:
    shown = failure("0\n", edit()).render()
    assert "found nothing like it" in shown
    assert BEFORE.splitlines()[0] in shown
    assert failure("", edit()).code == "ART102"


def test_text_that_is_there_twice_is_refused() -> None:
    error = failure(VISUAL + BEFORE, edit())
    assert error.code == "ART102"
    assert "2 times" in error.message
    assert "lines 8, 12" in str(error.why)


def test_overlapping_places_are_counted() -> None:
    assert "2 times" in failure("aaa", edit("aa", "b")).message


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (BEFORE, AFTER),
        ("import torch\n", "import torch\nimport math\n"),  # the old text stays in the new one
        ("from torch import nn\n", "# first\nfrom torch import nn\n"),
    ],
)
def test_edit_that_is_there_already_is_refused(before: str, after: str) -> None:
    patched = apply_edits(VISUAL.encode(), [edit(before, after)]).decode()
    error = failure(patched, edit(before, after))
    assert error.code == "ART108"
    assert "already" in error.message


def test_removed_lines_are_known_by_digest_only() -> None:
    removal = edit("import torch\nfrom torch import nn\n", "from torch import nn\n")
    patched = apply_edits(VISUAL.encode(), [removal]).decode()
    assert failure(patched, removal).code == "ART102"
    known = edit(removal.before, removal.after, after_sha256=sha256(patched))
    assert failure(patched, known).code == "ART108"


def test_new_text_elsewhere_does_not_hide_the_old() -> None:
    content = VISUAL + AFTER
    assert apply_edits(content.encode(), [edit()]).decode().count(AFTER) == 2


def test_other_file_is_refused_by_digest() -> None:
    error = failure(VISUAL + "\n", edit(before_sha256=sha256(VISUAL)))
    assert (error.code, sha256(VISUAL) in str(error.why)) == ("ART103", True)
    error = failure(VISUAL, edit(after_sha256="0" * 64))
    assert (error.code, "after the edit" in str(error.why)) == ("ART103", True)


def test_dos_line_ends_are_named() -> None:
    assert "CR LF" in str(failure(VISUAL.replace("\n", "\r\n"), edit()).why)


def test_binary_file_is_refused() -> None:
    with pytest.raises(TaskError, match="not UTF-8"):
        apply_edits(b"\xff\xfe", [edit()])


@given(st.text(), st.text(min_size=1), st.text(), st.text())
def test_unique_text_is_replaced_and_nothing_else(
    head: str, before: str, tail: str, after: str
) -> None:
    content = head + before + tail
    try:
        patched = apply_edits(content.encode(errors="replace"), [edit(before, after)]).decode()
    except (TaskError, UnicodeEncodeError):
        return
    place = content.find(before)
    assert content.find(before, place + 1) < 0
    assert patched == content[:place] + after + content[place + len(before) :]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("not json", "not JSON"),
        ("{}", "not a list"),
        ("[]", "empty"),
        ("[1]", "edit 1 is not an object"),
        ('[{"file": "a", "before": "b", "after": "c", "line": 4}]', "unknown key `line`"),
        ('[{"file": "a", "before": "b"}]', "edit 1 lacks `after`"),
        ('[{"file": "a", "before": 1, "after": "c"}]', "`before` of edit 1 is not text"),
        ('[{"file": "a", "before": "", "after": "c"}]', "changes nothing"),
        ('[{"file": "a", "before": "c", "after": "c"}]', "changes nothing"),
    ],
)
def test_edits_that_cannot_be_understood(text: str, why: str) -> None:
    with pytest.raises(TaskError) as caught:
        parse_edits(text)
    assert caught.value.code == "ART109"
    assert why in str(caught.value.why)


@pytest.mark.parametrize("name", ["../x.py", "/etc/passwd", "", "a/../../x", "a\0b"])
def test_file_outside_the_model_is_refused(name: str) -> None:
    with pytest.raises(TaskError) as caught:
        parse_edits(json.dumps([{"file": name, "before": "a", "after": "b"}]))
    assert caught.value.code == "ART104"


def test_edits_of_one_file_keep_their_order() -> None:
    edits = [Edit("b", "1", ""), Edit("./a", "2", ""), Edit("b", "3", ""), Edit("a", "4", "")]
    groups = {str(path): [e.before for e in group] for path, group in by_file(edits).items()}
    assert groups == {"a": ["2", "4"], "b": ["1", "3"]}
