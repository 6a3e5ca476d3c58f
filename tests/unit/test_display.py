"""Untrusted text is shown as what it is, and secrets are not shown."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.display import csv_cell, escape_html, escape_terminal, mask_secrets, preview, truncate

SECRETS = [
    "curl --password=hunter2 x",
    "x --token hunter2 y",
    "x --api-key hunter2",
    "x --db-password='hunter2 and more' y",
    'x --password=ab"hunter2"cd y',
    "x --passphrase=hunter2\\ hunter2",
    "x --secret 'hunter2",
    "TOKEN=hunter2 ./run",
    "PASSWORD='hunter2 a' ./run",
    'env GITHUB_TOKEN="hunter2" a',
    "PGPASSWORD=hunter2 psql",
    "MYSQL_PWD=hunter2 mysql",
    "AWS_SECRET_ACCESS_KEY=hunter2 aws",
    "SECRET_KEY_BASE=hunter2 rails",
    "https://me:hunter2@h/x",
    "redis://:hunter2@h",
    "git clone https://hunter2@github.com/a/b",
    "curl 'https://x/?token=hunter2&b=c' -o out",
    'curl "https://x/?access_token=hunter2" -o out',
    "curl -H 'Authorization: Bearer hunter2' x",
    'curl -H "Authorization: Basic hunter2==" x',
    "curl -H 'X-Api-Key: hunter2' x",
    "curl -u me:hunter2 x",
    "curl --user me:hunter2 x",
    """curl -d '{"password": "hunter2", "a": 1}' x""",
    """curl -d "{'token': 'hunter2'}" x""",
    """curl -d "{\\"token\\": \\"hunter2\\"}" x""",
    "mysql --password=hunter2&& ls",
    "echo AKIAhunter2".replace("hunter2", "IOSFODNN7EXAMPLE"),
    "echo ghp_hunter2hunter2",
    "echo eyJhbGciOiJI.eyJzdWIiOiIx.hunter2",
    "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_masked(text: str) -> None:
    masked = mask_secrets(text)
    assert "hunter2" not in masked and "IOSFODNN7" not in masked
    assert "***" in masked


def test_what_follows_a_secret_stays() -> None:
    assert mask_secrets("x --token abc --lr 0.1") == "x --token *** --lr 0.1"
    assert mask_secrets("curl 'https://x/?token=abc&b=c' -o out") == "curl 'https://x/?token=***&b=c' -o out"
    assert mask_secrets('curl "https://x/?token=abc" -o out') == 'curl "https://x/?token=***" -o out'
    assert mask_secrets("TOKEN=abc;ls") == "TOKEN=***;ls"


HARMLESS = [
    "python tokenize.py --keyboard x",
    "x --tokenizer bert --max-tokens 256",
    "pytest -k 'not slow'",
    "monkey=banana",
    "bypass=1 x --pass-through",
    "docker run -u 1000:1000 x",
    "TOKEN=$TOKEN run",
    'x --password="$PW" --token ${T}',
    "wget https://example.org/a@b",
    "password",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask_secrets(text) == text


@given(st.text(alphabet="token=pas-word:/@'\"\\ $;&abk_e", max_size=60))
def test_masking_never_fails_and_is_stable(text: str) -> None:
    assert mask_secrets(mask_secrets(text)) == mask_secrets(text) or "***" in mask_secrets(text)


PARTS = [
    "--password ",
    "a-",
    "token=",
    "'\"token=\\",
    "a_",
    "a",
    "-",
    "eyJ",
    "eyJa-",
    "sk-a-",
    "://",
    "bearer ",
    "xoxb-",
    "-u a:",
]


def test_masking_hostile_commands_ends() -> None:
    """What backtracks would take hours at this size; a process of its own, which is killed then."""
    program = "import sys; from queuectl.display import mask_secrets; [mask_secrets((p * 100_000)[:100_000] + 'token') for p in sys.argv[1:]]"
    subprocess.run([sys.executable, "-c", program, *PARTS], check=True, timeout=300)


@given(st.text())
def test_escaped_text_is_one_printable_line(text: str) -> None:
    assert not any(
        ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2066\u2028" for c in escape_terminal(text)
    )
    assert escape_terminal(escape_terminal(text)) == escape_terminal(text)


def test_control_and_direction_characters_are_spelt_out() -> None:
    assert (
        escape_terminal("a\x1b[2J\r\n\t\x7f\x9b\u202e\ud800") == "a\\x1b[2J\\r\\n\\t\\x7f\\x9b\\u202e\\ud800"
    )
    assert escape_terminal("a\n\tb\rc", multiline=True) == "a\n\tb\\rc"
    assert escape_terminal("é 漢字 🎉 👩‍🔬") == "é 漢字 🎉 👩‍🔬"


def test_html_shows_the_text_itself() -> None:
    assert escape_html("<img src=x onerror='a'>&\"$x$\x1b") == (
        "&lt;img src=x onerror=&#x27;a&#x27;&gt;&amp;&quot;&#36;x&#36;\\x1b"
    )


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\tx", "\rx"])
def test_a_formula_is_disarmed(text: str) -> None:
    assert csv_cell(text) == "'" + text


@pytest.mark.parametrize("value", ["", "a=1", 1, -1, 2.5, None, True])
def test_other_cells_stay(value: object) -> None:
    assert csv_cell(value) is value


def test_a_long_text_is_cut_with_a_count() -> None:
    assert truncate("a" * 1_000_000, 10) == "aaaaaaaaaa… (999,990 more characters)"
    assert truncate("abc", 3) == "abc"
    assert preview("x --token hunter2\n" * 100, 20) == "x --token ***\\nx --t… (1,480 more characters)"
