from __future__ import annotations

import json

import pytest

from mmtrt.redaction import FORMS, MASK, Redactor, of_machine

KEPT = [
    "ssh://git@github.com/NVIDIA/TensorRT-LLM.git",
    "https://huggingface.co/llava-hf/llava-1.5-7b-hf",
    "https://host/a.png?width=3&id=7",
    "max_num_tokens=2048 image_token_id: 32000 eos_token: </s>",
    '{"pad_token": "<pad>", "bos_token_id": 1, "tokens": "abcdefgh"}',
    "the key cache holds 4096 places; keyword=valuable1",
    "user@host:/models/a and a@b.example",
    "sm_90 hf_config ghost_writer sk-learn",
    "3e07c8693993912676bfa82b6934532102d1ba8668b8d24b81dcb58d1d0a1248",
]

MASKED = [
    ("https://user:pass@host/a", "https://***@host/a"),
    ("git+https://tok3n@host/r.git@main", "git+https://***@host/r.git@main"),
    ("http://u:p%40@ss@host:80/x@y", "http://***@host:80/x@y"),
    ("ssh://git:pw@host/r", "ssh://***@host/r"),
    ("https://h/a?x=1&token=abc#top", "https://h/a?x=1&token=***#top"),
    ("https://b.s3/a?X-Amz-Signature=0a1b&X-Amz-Date=2", None),
    ("HF_TOKEN=hf_short12", "HF_TOKEN=***"),
    ("export OPENAI_API_KEY='abcdef123'", "export OPENAI_API_KEY='***'"),
    ('{"aws_secret_access_key": "wJalr/x+y"}', '{"aws_secret_access_key": "***"}'),
    (json.dumps({"line": '{"password": "hunter22"}'}), None),
    ("Authorization: Bearer abcdefghijklmnop.qrs", "Authorization: Bearer ***"),
    ("machine h login bob password x", "machine h login bob password ***"),
    ("got hf_" + "a" * 34 + ".", "got hf_***."),
    ("ghp_" + "A1" * 18, "ghp_***"),
    ("nvapi-" + "x" * 64, "nvapi-***"),
    ("AKIAIOSFODNN7EXAMPLE", "AKIA***"),
    ("ASIAIOSFODNN7EXAMPLE in a log", "ASIA*** in a log"),
    ("AIza" + "Sy_-" * 8 + "abc", "AIza***"),
    ("glpat-" + "aB3_" * 5, "glpat-***"),
    ("pypi-AgEIcHlwaS5vcmc" + "x" * 40, "pypi-***"),
    ("client secret=hunter22 given", "client secret=*** given"),
    ("https://s/a?X-Goog-Credential=me%40p.iam&x=1", "https://s/a?X-Goog-Credential=***&x=1"),
]


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_credential_stays(text):
    assert FORMS.text(text) == text
    assert FORMS.data(text.encode()) == text.encode()


@pytest.mark.parametrize(("text", "expected"), MASKED)
def test_credentials_are_known_by_their_form(text, expected):
    masked = FORMS.text(text)
    assert MASK in masked
    assert expected is None or masked == expected
    assert FORMS.data(text.encode()).decode() == masked
    assert FORMS.text(masked) == masked, "what is masked is not masked again"


def test_values_are_learned_from_variables_and_urls():
    env = {
        "HF_TOKEN": "a-strange-token",
        "PIP_INDEX_URL": "https://bob:s3cret%2Fpw@index/simple",
        "PATH": "/usr/bin:/bin/somewhere",
        "DB_PASSWORD": "short",
        "TOKENIZERS_PARALLELISM": "parallel",
    }
    redactor = Redactor.of(env, ["--image=https://h/x?sig=signature99"])
    text = (
        "a-strange-token s3cret%2Fpw s3cret/pw signature99 /usr/bin:/bin/somewhere short parallel"
    )
    assert redactor.text(text) == "*** *** *** *** /usr/bin:/bin/somewhere short parallel"
    assert redactor.text("Ym9iOnMzY3JldC9wdw==") == MASK, "as in a header of basic authorization"


@pytest.mark.parametrize(("secret", "is_masked"), [("8letters", True), ("7letter", False)])
def test_values_that_common_words_could_be_are_not_looked_for(secret, is_masked):
    redactor = Redactor.of({"DB_PASSWORD": secret})
    assert (redactor.text(f"with {secret} in it") == "with *** in it") is is_masked


def test_files_of_the_hub_and_of_netrc_give_their_tokens_away(tmp_path, monkeypatch):
    for name in ("HF_HOME", "HF_TOKEN_PATH", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    hub = tmp_path / ".cache/huggingface"
    hub.mkdir(parents=True)
    (hub / "token").write_text("the-current-token")
    # As huggingface_hub writes it for `hf auth login` under several names.
    (hub / "stored_tokens").write_text("[work]\nhf_token = the-other-token\n\n")
    (tmp_path / ".netrc").write_text("machine h login bob password the-netrc-word\n")
    text = "a the-current-token b the-other-token c the-netrc-word d"
    assert of_machine({}).text(text) == "a *** b *** c *** d"


def test_a_path_in_a_variable_of_that_name_is_no_secret(tmp_path):
    path = tmp_path / "credentials"
    path.touch()
    redactor = Redactor.of({"GOOGLE_APPLICATION_CREDENTIALS": str(path)})
    assert redactor.text(f"reads {path}") == f"reads {path}"


def test_trees_keep_their_shape():
    tree = {"a": ["https://u:p@h", 1, None, {"https://u:p@h": True}], "b": 1.5}
    assert FORMS.tree(tree) == {"a": ["https://***@h", 1, None, {"https://***@h": True}], "b": 1.5}


def test_odd_characters_survive():
    text = "naïve \udcff https://u:p@h 日本"
    assert FORMS.text(text) == "naïve \udcff https://***@h 日本"
