"""Every kind of mistake, with the whole text that the user sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mmtrt.config.compose import compose
from mmtrt.config.root import choices, display, recipes_root, search_dirs
from mmtrt.errors import RecipeError
from tests.config.conftest import MakeUserDir


def told(overrides: Sequence[str], *config_dirs: Path) -> str:
    """Return the text of the error that composing raises."""
    with pytest.raises(RecipeError) as caught:
        compose(overrides, config_dirs)
    return caught.value.render()


def recipes(*config_dirs: Path) -> str:
    return ", ".join(choices("recipe", search_dirs(config_dirs)))


OVERRIDES = {
    "a number that must be text": (
        ["trtllm.version=1.10"],
        """\
error[CFG101]: trtllm.version must be text, not the number 1.1
  at: override 'trtllm.version=1.10'
  why: without quotes 1.10 is read as the number 1.1
  fix: 'trtllm.version="1.10"'""",
    ),
    "a revision that looks like a number": (
        ["model.revision=12e4567"],
        """\
error[CFG101]: model.revision must be text, not the number inf
  at: override 'model.revision=12e4567'
  why: without quotes 12e4567 is read as the number inf
  fix: 'model.revision="12e4567"'""",
    ),
    "text that must be a number": (
        ["tp=two"],
        """\
error[CFG101]: tp must be a whole number, not the text 'two'
  at: override 'tp=two'
  fix: give a whole number, such as tp=1""",
    ),
    "quotes around a number": (
        ['tp="2"'],
        """\
error[CFG101]: tp must be a whole number, not the text '2'
  at: override 'tp="2"'
  why: quotes make it text
  fix: tp=2""",
    ),
    "yes for true": (
        ["eval.test_hf=yes"],
        """\
error[CFG101]: eval.test_hf must be true or false, not the text 'yes'
  at: override 'eval.test_hf=yes'
  fix: eval.test_hf=true""",
    ),
    "a number for a list": (
        ["workload.image_size=336"],
        """\
error[CFG101]: workload.image_size must be a list, not the number 336
  at: override 'workload.image_size=336'
  fix: 'workload.image_size=[336,336]'""",
    ),
    "a number out of its bounds": (
        ["tp=0"],
        """\
error[CFG112]: tp must be at least 1, not 0
  at: override 'tp=0'
  fix: tp=1""",
    ),
    "a list of another length": (
        ["workload.image_size=[336]"],
        """\
error[CFG112]: workload.image_size must have 2 items, not 1
  at: override 'workload.image_size=[336]'
  fix: 'workload.image_size=[1,1]'""",
    ),
    "a misspelt key": (
        ["tpp=2"],
        """\
error[CFG102]: there is no key 'tpp'
  at: override 'tpp=2'
  fix: tp=2 or pp=2""",
    ),
    "a misspelt key, added": (
        ["+tpp=2"],
        """\
error[CFG102]: there is no key 'tpp'
  at: override '+tpp=2'
  fix: tp=2 or pp=2""",
    ),
    "a key without its parent": (
        ["batch_size=3"],
        """\
error[CFG102]: there is no key 'batch_size'
  at: override 'batch_size=3'
  fix: run.batch_size=3 or workload.batch_size=3""",
    ),
    "a misspelt key below a known one": (
        ["target.smm=90"],
        """\
error[CFG102]: there is no key 'target.smm'
  at: override 'target.smm=90'
  why: the keys of target are sm, gpu_memory_gib
  fix: target.sm=90""",
    ),
    "a misspelt key inside of a value": (
        ["target={smm: 90}"],
        """\
error[CFG102]: there is no key 'target.smm'
  at: override 'target={smm: 90}'
  why: the keys of target are sm, gpu_memory_gib
  fix: write sm""",
    ),
    "a misspelt key to delete": (
        ["~tpp"],
        """\
error[CFG102]: there is no key 'tpp'
  at: override '~tpp'
  fix: tp or pp""",
    ),
    "a misspelt variant inside of a recipe": (
        ["recipe.variants.smal.license=mit"],
        """\
error[CFG102]: recipe.variants has no 'smal'
  at: override 'recipe.variants.smal.license=mit'
  why: it has small
  fix: recipe.variants.small.license=mit""",
    ),
    "a group with a package": (
        ["quant@x=none"],
        """\
error[CFG102]: there is no key 'quant@x'
  at: override 'quant@x=none'
  fix: quant=none""",
    ),
    "two names for a group": (
        ["quant=[none,int8_wo]"],
        """\
error[CFG106]: quant takes one name
  at: override 'quant=[none,int8_wo]'
  why: several files would be mixed into one
  fix: quant=none, or -m quant=none,int8_wo to run each of them""",
    ),
    "a group that is there already": (
        ["+quant=none"],
        """\
error[CFG102]: quant is there already
  at: override '+quant=none'
  fix: quant=none""",
    ),
    "a key that is there already": (
        ["+tp=2"],
        """\
error[CFG102]: tp is there already
  at: override '+tp=2'
  fix: tp=2""",
    ),
    "an item of nothing": (
        ["run.image.0=a.png"],
        """\
error[CFG102]: there is no key 'run.image.0'
  at: override 'run.image.0=a.png'
  fix: set run.image as a whole""",
    ),
    "an item that is not there": (
        ["recipe.backends.9=native"],
        """\
error[CFG101]: recipe.backends.9 cannot be set to this
  at: override 'recipe.backends.9=native'
  why: list index out of range
  fix: set recipe.backends as a whole""",
    ),
    "a key of Hydra that does not exist": (
        ["hydra.nope=1"],
        """\
error[CFG102]: there is no key 'hydra.nope'
  at: override 'hydra.nope=1'
  fix: see Hydra's keys: mmtrt --cfg hydra recipe=...""",
    ),
    "a name that starts with a digit": (
        ["recipe.variants.7b.license=mit"],
        """\
error[CFG108]: 'recipe.variants.7b.license' cannot be written as a key
  at: override 'recipe.variants.7b.license=mit'
  why: '7b' starts with a digit
  fix: 'recipe.variants={7b: {license: mit}}'""",
    ),
    "no key": (
        ["=3"],
        """\
error[CFG108]: '=3' is no override
  at: override '=3'
  why: an override is key=value
  fix: write key=value""",
    ),
    "two dots": (
        ["run..top_k=3"],
        """\
error[CFG108]: 'run..top_k' is no key
  at: override 'run..top_k=3'
  why: a key is names joined by dots
  fix: write key=value""",
    ),
    "a value outside of its choices": (
        ["dtype=fp16"],
        """\
error[CFG104]: dtype must be one of auto, float32, float16, bfloat16, not fp16
  at: override 'dtype=fp16'
  fix: dtype=float16""",
    ),
    "a value far from its choices": (
        ["workflow=zzz"],
        """\
error[CFG104]: workflow must be one of engine, pytorch, not zzz
  at: override 'workflow=zzz'
  fix: use one of these""",
    ),
    "no equals sign": (
        ["engin"],
        """\
error[CFG108]: 'engin' is no override
  at: override 'engin'
  why: an override is key=value
  fix: engine=...""",
    ),
    "text that needs quotes": (
        ['run.prompt=Is "this" (or that) it?'],
        """\
error[CFG108]: the value of run.prompt cannot be understood
  at: override 'run.prompt=Is "this" (or that) it?'
  why: text with spaces at its ends, quotes, brackets or commas needs quotes
  fix: 'run.prompt="Is \\"this\\" (or that) it?"'""",
    ),
    "an open bracket": (
        ["run.image=[a.png"],
        """\
error[CFG108]: the value of run.image cannot be understood
  at: override 'run.image=[a.png'
  why: no viable alternative at input '[a.png'
  fix: close every bracket and quote, and put quotes around text""",
    ),
    "a sweep": (
        ["tp=1,2"],
        """\
error[CFG108]: tp has several values
  at: override 'tp=1,2'
  why: this asks for a sweep
  fix: add -m to run each of them""",
    ),
    "a text with commas": (
        ["run.prompt=one,two"],
        """\
error[CFG108]: run.prompt has several values
  at: override 'run.prompt=one,two'
  why: this asks for a sweep
  fix: add -m to run each of them, or write a list: 'run.prompt=[one,two]', or quote the text: \
'run.prompt="one,two"'""",
    ),
    "an interpolation to nowhere": (
        ["run.prompt=${tpp}"],
        """\
error[CFG109]: run.prompt cannot be resolved
  at: override 'run.prompt=${tpp}'
  why: there is no key 'tpp'
  fix: write ${tp}""",
    ),
    "an environment variable that is not set": (
        ["model.path=${oc.env:NOT_SET_ANYWHERE}"],
        """\
error[CFG109]: model.path cannot be resolved
  at: override 'model.path=${oc.env:NOT_SET_ANYWHERE}'
  why: the environment variable NOT_SET_ANYWHERE is not set
  fix: set it, or give a default: ${oc.env:NOT_SET_ANYWHERE,default}""",
    ),
    "a resolver that does not exist": (
        ["model.path=${nope:x}"],
        """\
error[CFG109]: model.path cannot be resolved
  at: override 'model.path=${nope:x}'
  why: there is no resolver nope
  fix: write ${key} for another value, ${oc.env:NAME} for an environment variable""",
    ),
    "a value that is left open": (
        ["session=???"],
        """\
error[CFG103]: session must be said
  at: override 'session=???'
  fix: give session a value""",
    ),
    "a choice that is taken away": (
        ["~quant"],
        """\
error[CFG103]: quant must be said
  at: override '~quant'
  fix: give quant a value""",
    ),
}


@pytest.mark.parametrize("case", OVERRIDES)
def test_override(case: str, user_dir: MakeUserDir) -> None:
    overrides, expected = OVERRIDES[case]
    assert told(["recipe=mine", *overrides], user_dir()) == expected


FILES = {
    "a revision that looks like a number": (
        [('"b234b80"', "12e4567")],
        """\
error[CFG101]: recipe.variants.small.revision must be text, not the number inf
  at: my/recipe/mine.yaml:20:15
  why: without quotes 12e4567 is read as the number inf
  fix: write revision: "12e4567\"""",
    ),
    "a name that is a truth value": (
        [("{kind: download}", "{kind: download, include: [no]}")],
        """\
error[CFG101]: recipe.stages.download.include[0] must be text, not the truth value false
  at: my/recipe/mine.yaml:16:40
  why: without quotes no is read as the truth value false
  fix: write - "no\"""",
    ),
    "a choice that is a truth value": (
        [("{kind: download}", "{kind: no}")],
        """\
error[CFG104]: recipe.stages.download.kind must be one of download, clone, env, write, patch, \
convert, quantize, build_llm, build_vision, assemble, run, eval, serve, not no
  at: my/recipe/mine.yaml:16:20
  why: without quotes no is read as the truth value false
  fix: write kind: run""",
    ),
    "a key that is a number": (
        [("  small:", "  7:"), ("default_variant: small", 'default_variant: "7"')],
        """\
error[CFG101]: recipe.variants.7 must be a quoted name, not the number 7
  at: my/recipe/mine.yaml:18:3
  why: without quotes 7 is read as the number 7
  fix: write "7":""",
    ),
    "text for a number": (
        [("patch_size: 8", "patch_size: '8'")],
        """\
error[CFG101]: recipe.variants.small.facts.patch_size must be a whole number, not the text '8'
  at: my/recipe/mine.yaml:23:19
  why: quotes make it text
  fix: write patch_size: 8""",
    ),
    "a number out of its bounds": (
        [("patch_size: 8", "patch_size: 0")],
        """\
error[CFG112]: recipe.variants.small.facts.patch_size must be at least 1, not 0
  at: my/recipe/mine.yaml:23:19
  fix: write patch_size: 1""",
    ),
    "a value for a mapping": (
        [("{kind: download}", "download")],
        """\
error[CFG101]: recipe.stages.download must be a mapping, not the text 'download'
  at: my/recipe/mine.yaml:16:13
  fix: indent its keys below it""",
    ),
    "a misspelt key": (
        [("summary:", "sumary:")],
        """\
error[CFG102]: there is no key 'recipe.sumary'
  at: my/recipe/mine.yaml:4:1
  why: the keys of recipe are name, title, summary, readme_section, family, hf_model_type, \
native_model_type, trtllm_model_type, convert_script, name_words, default_variant, variants, \
stages, sources, quants, sessions, backends, engines, not_native, runner, native, workflow, \
dtype, dtypes, max_pp, calibrates_on, config_values, prompt_table, visual_input, architecture, \
limits, workload, run, eval, repairs
  fix: write summary
error[CFG103]: recipe.summary must be said
  at: my/recipe/mine.yaml:2:1
  fix: add summary: <text>""",
    ),
    "a value outside of its choices": (
        [("kind: download", "kind: downlaod")],
        """\
error[CFG104]: recipe.stages.download.kind must be one of download, clone, env, write, patch, \
convert, quantize, build_llm, build_vision, assemble, run, eval, serve, not downlaod
  at: my/recipe/mine.yaml:16:20
  fix: write kind: download""",
    ),
    "a value that is left open": (
        [("title: Mine", "title: ???")],
        """\
error[CFG103]: recipe.title must be said
  at: my/recipe/mine.yaml:3:8
  fix: add title: <text>""",
    ),
    "an interpolation to nowhere": (
        [("title: Mine", "title: ${nope}")],
        """\
error[CFG109]: recipe.title cannot be resolved
  at: my/recipe/mine.yaml:3:8
  why: there is no key 'nope'
  fix: name a key that exists""",
    ),
    "a syntax error": (
        [("backends: [native]", "backends: [native")],
        """\
error[CFG105]: my/recipe/mine.yaml is not valid YAML
  at: my/recipe/mine.yaml:13:11
  why: while parsing a flow sequence: did not find expected ',' or ']' up to line 14
  fix: close what opens here""",
    ),
    "an open quote": (
        [("title: Mine", "title: 'Mine")],
        """\
error[CFG105]: my/recipe/mine.yaml is not valid YAML
  at: my/recipe/mine.yaml:3:8
  why: while scanning a quoted scalar: found unexpected end of stream up to line 30
  fix: close what opens here""",
    ),
    "an indentation that fits nothing": (
        [("    repo_id", "   repo_id")],
        """\
error[CFG105]: my/recipe/mine.yaml is not valid YAML
  at: my/recipe/mine.yaml:20:13
  why: mapping values are not allowed in this context
  fix: put quotes around text that holds a colon, and indent equal keys equally""",
    ),
    "a colon in text": (
        [("summary: A recipe", "summary: A recipe: one")],
        """\
error[CFG105]: my/recipe/mine.yaml is not valid YAML
  at: my/recipe/mine.yaml:4:18
  why: mapping values are not allowed in this context
  fix: put quotes around text that holds a colon, and indent equal keys equally""",
    ),
    "a tab": (
        [("  download: {kind", "\tdownload: {kind")],
        """\
error[CFG105]: my/recipe/mine.yaml is not valid YAML
  at: my/recipe/mine.yaml:16:1
  why: a tab indents or separates here; YAML takes spaces only
  fix: replace the tab by spaces""",
    ),
    "text that starts with a star": (
        [("title: Mine", "title: *Mine")],
        """\
error[CFG105]: my/recipe/mine.yaml is not valid YAML
  at: my/recipe/mine.yaml:3:8
  why: found undefined alias
  fix: put quotes around text that starts with * or &""",
    ),
    "text that starts with an at sign": (
        [("title: Mine", "title: @Mine")],
        """\
error[CFG105]: my/recipe/mine.yaml is not valid YAML
  at: my/recipe/mine.yaml:3:8
  why: while scanning for the next token: found character that cannot start any token
  fix: put quotes around text that starts with @""",
    ),
    "a key twice": (
        [("title: Mine", "title: Mine\ndtype: float32")],
        """\
error[CFG105]: the key 'dtype' stands twice
  at: my/recipe/mine.yaml:15:1
  why: it stands at line 4 too
  fix: remove one of them""",
    ),
    "a control character": (
        [("title: Mine", "title: Mi\x07ne")],
        """\
error[CFG105]: my/recipe/mine.yaml is not valid YAML
  at: my/recipe/mine.yaml:3:10
  why: character U+0007 is not allowed
  fix: remove it, or write it as an escape inside double quotes""",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_file(case: str, user_dir: MakeUserDir) -> None:
    replacements, expected = FILES[case]
    assert told(["recipe=mine"], user_dir(*replacements)) == expected


WHOLE_FILES = {
    "a list": (
        b"- a\n- b\n",
        """\
error[CFG105]: my/recipe/mine.yaml must be a mapping
  at: my/recipe/mine.yaml:1:1
  why: the top of a config file is lines of the form key: value
  fix: write key: value""",
    ),
    "a word": (
        b"hello\n",
        """\
error[CFG105]: my/recipe/mine.yaml must be a mapping
  at: my/recipe/mine.yaml:1:1
  why: the top of a config file is lines of the form key: value
  fix: write key: value""",
    ),
    "nothing": (
        b"# nothing yet\n",
        """\
error[CFG105]: my/recipe/mine.yaml is empty
  at: my/recipe/mine.yaml
  fix: start from a copy of another file of its directory""",
    ),
    "Latin-1": (
        "name: mine\ntitle: Für mich\n".encode("latin-1"),
        """\
error[CFG105]: my/recipe/mine.yaml is not UTF-8
  at: my/recipe/mine.yaml:2:9
  why: byte 0xfc starts no character
  fix: save the file as UTF-8""",
    ),
    "two documents": (
        b"name: mine\n---\nname: yours\n",
        """\
error[CFG105]: my/recipe/mine.yaml is not valid YAML
  at: my/recipe/mine.yaml:2:1
  why: expected a single document in the stream: but found another document
  fix: look at this line and the one above it""",
    ),
    "defaults that are no list": (
        b"defaults: llava\nname: mine\n",
        """\
error[CFG105]: defaults must be a list
  at: my/recipe/mine.yaml:1:11
  why: each entry names a file that this one builds on
  fix: write - name below defaults:""",
    ),
    "defaults that lead back": (
        b"defaults: [mine]\nname: mine\n",
        """\
error[CFG105]: the defaults of my/recipe/mine.yaml lead back to itself
  at: my/recipe/mine.yaml
  why: recipes/config.yaml -> my/recipe/mine.yaml -> my/recipe/mine.yaml
  fix: remove one of the entries""",
    ),
}


@pytest.mark.parametrize("case", WHOLE_FILES)
def test_whole_file(case: str, user_dir: MakeUserDir) -> None:
    content, expected = WHOLE_FILES[case]
    root = user_dir()
    (root / "recipe/mine.yaml").write_bytes(content)
    config = display(recipes_root() / "config.yaml")
    assert told(["recipe=mine"], root).replace(config, "recipes/config.yaml") == expected


def test_file_that_cannot_be_read(user_dir: MakeUserDir, monkeypatch: pytest.MonkeyPatch) -> None:
    root = user_dir()
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "mine.yaml":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert (
        told(["recipe=mine"], root)
        == """\
error[CFG105]: my/recipe/mine.yaml cannot be read
  at: my/recipe/mine.yaml
  why: Permission denied
  fix: give this user the right to read it"""
    )


def test_unknown_recipe(user_dir: MakeUserDir) -> None:
    assert (
        told(["recipe=mien"], user_dir())
        == f"""\
error[CFG106]: there is no recipe 'mien'
  at: override 'recipe=mien'
  why: the choices are {recipes(user_dir())}
  fix: recipe=mine"""
    )


@pytest.mark.parametrize(("group", "wrong", "right"), [("backend", "nativ", "native")])
def test_unknown_choice(group: str, wrong: str, right: str, user_dir: MakeUserDir) -> None:
    known = ", ".join(choices(group, search_dirs()))
    assert (
        told(["recipe=mine", f"{group}={wrong}"], user_dir())
        == f"""\
error[CFG106]: there is no {group} {wrong!r}
  at: override '{group}={wrong}'
  why: the choices are {known}
  fix: {group}={right}"""
    )


def test_unknown_choice_of_hydra() -> None:
    assert (
        told(["recipe=llava", "hydra/output=defalt"])
        == """\
error[CFG106]: there is no hydra/output 'defalt'
  at: override 'hydra/output=defalt'
  why: the choices are default
  fix: hydra/output=default"""
    )


def test_null_that_is_deleted() -> None:
    """Hydra 1.4 allows it, 1.3 does not."""
    try:
        assert compose(["recipe=llava", "~session"]).settings.session is None
    except RecipeError as err:
        assert (
            err.render()
            == """\
error[CFG102]: session cannot be deleted
  at: override '~session'
  why: it is null, or not there
  fix: leave the override out"""
        )


def test_no_recipe() -> None:
    first = choices("recipe", search_dirs())[0]
    assert (
        told([])
        == f"""\
error[CFG103]: no recipe is chosen
  why: the recipes are {recipes()}
  fix: add recipe={first}"""
    )


def test_wrong_suffix(user_dir: MakeUserDir) -> None:
    root = user_dir()
    (root / "recipe/mine.yaml").rename(root / "recipe/other.yml")
    assert (
        told(["recipe=other"], root)
        == """\
error[CFG106]: there is no recipe 'other'
  at: override 'recipe=other'
  why: other.yml is there, but only .yaml is read
  fix: rename it to other.yaml"""
    )


def test_file_behind_one_of_ours(user_dir: MakeUserDir) -> None:
    root = user_dir()
    (root / "recipe/mine.yaml").rename(root / "recipe/llava.yaml")
    assert (
        told(["recipe=llava"], root)
        == """\
error[CFG106]: the recipe 'llava' exists twice
  at: my/recipe/llava.yaml
  why: mmtrt's own file of this name would be read, and this one ignored
  fix: rename it, to my_llava.yaml for example, and use recipe=my_llava"""
    )


def test_unknown_default(user_dir: MakeUserDir) -> None:
    root = user_dir(("name: mine", "defaults: [llvaa, _self_]\nname: mine"))
    assert told(["recipe=mine"], root) == (
        "error[CFG106]: there is no recipe 'llvaa'\n"
        "  at: my/recipe/mine.yaml:2:12\n"
        f"  why: the choices are {recipes(root)}\n"
        "  fix: write llava"
    )


def test_missing_config_dir() -> None:
    assert (
        told(["recipe=llava"], Path("nowhere"))
        == """\
error[CFG107]: the config directory nowhere does not exist
  at: option '-cd nowhere'
  fix: name a directory that holds recipe/<name>.yaml"""
    )


def test_unknown_primary_config() -> None:
    with pytest.raises(RecipeError) as caught:
        compose(["recipe=llava"], config_name="confg")
    assert (
        caught.value.render()
        == """\
error[CFG106]: there is no primary config 'confg'
  at: option '-cn confg'
  why: the choices are config
  fix: -cn config"""
    )


def test_all_mistakes_are_told_at_once(user_dir: MakeUserDir) -> None:
    root = user_dir(('"b234b80"', "1_000"), ("patch_size: 8", "patch_size: x"))
    assert (
        told(["recipe=mine", "tpp=2", "pp=x", "run.prompt=a,", "backend=auto"], root)
        == """\
error[CFG108]: the value of run.prompt cannot be understood
  at: override 'run.prompt=a,'
  why: text with spaces at its ends, quotes, brackets or commas needs quotes
  fix: 'run.prompt="a,"'
error[CFG102]: there is no key 'tpp'
  at: override 'tpp=2'
  fix: tp=2 or pp=2
error[CFG101]: recipe.variants.small.revision must be text, not the number 1000
  at: my/recipe/mine.yaml:20:15
  why: without quotes 1_000 is read as the number 1000
  fix: write revision: "1_000"
error[CFG101]: recipe.variants.small.facts.patch_size must be a whole number, not the text 'x'
  at: my/recipe/mine.yaml:23:19
  fix: write patch_size: 1
error[CFG101]: pp must be a whole number, not the text 'x'
  at: override 'pp=x'
  fix: give a whole number, such as pp=1"""
    )


TRAPS = {
    "1.10": "the number 1.1",
    "12e4567": "the number inf",
    "no": "the truth value false",
    "on": "the truth value true",
    "0012345": "the number 5349",
    "1_000": "the number 1000",
    "0x1f": "the number 31",
    "0b11": "the number 3",
    "12:30": "the number 750",
    "1e3": "the number 1000.0",
    ".5": "the number 0.5",
    "TRUE": "the truth value true",
    "null": "null",
    "~": "null",
}


@pytest.mark.parametrize("raw", TRAPS)
def test_yaml_trap(raw: str, user_dir: MakeUserDir) -> None:
    """What YAML makes of a bare word is told, with the word as it was written."""
    root = user_dir(("title: Mine", f"title: {raw}"))
    lines = told(["recipe=mine"], root).splitlines()
    assert lines[0] == f"error[CFG101]: recipe.title must be text, not {TRAPS[raw]}"
    assert lines[1] == "  at: my/recipe/mine.yaml:3:8"
    if TRAPS[raw] != "null":
        assert lines[2] == f"  why: without quotes {raw} is read as {TRAPS[raw]}"
        assert lines[3] == f'  fix: write title: "{raw}"'
    fixed = user_dir(("title: Mine", f'title: "{raw}"'))
    assert compose(["recipe=mine"], [fixed]).settings.recipe.title == raw


@pytest.mark.parametrize("raw", ["1.10", "12e4567", "1_000", "1e3", "true"])
def test_override_trap(raw: str, user_dir: MakeUserDir) -> None:
    lines = told(["recipe=mine", f"model.revision={raw}"], user_dir()).splitlines()
    assert lines[0].startswith("error[CFG101]: model.revision must be text, not the ")
    assert lines[3] == f"  fix: 'model.revision=\"{raw}\"'"
    fixed = compose(["recipe=mine", f'model.revision="{raw}"'], [user_dir()])
    assert fixed.settings.model.revision == raw


@pytest.mark.parametrize("raw", ["no", "on", "0x1f", "12:30", "2024-01-01", "0012345"])
def test_text_that_the_command_line_leaves_alone(raw: str, user_dir: MakeUserDir) -> None:
    composed = compose(["recipe=mine", f"model.revision={raw}"], [user_dir()])
    assert composed.settings.model.revision == raw
