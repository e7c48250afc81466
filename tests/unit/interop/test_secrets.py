"""Secrets do not leave: by field name and by known shape. Worked examples; no real key is among them."""

from __future__ import annotations

import pytest

from harness.interop.secrets import REMOVED, clean, clean_text


@pytest.mark.parametrize("name", ["api_key", "OPENAI_API_KEY", "hf_token", "token", "password", "Authorization"])
def test_fields_that_hold_secrets_are_emptied(name: str) -> None:
    assert clean({name: "x", "inner": [{name: "y"}]}) == {name: REMOVED, "inner": [{name: REMOVED}]}


@pytest.mark.parametrize("name", ["max_new_tokens", "prompt_tokens", "image_token", "tokenizers", "key", "run_key"])
def test_settings_that_only_sound_like_secrets_stay(name: str) -> None:
    assert clean({name: 7}) == {name: 7}


@pytest.mark.parametrize(
    "secret",
    [
        "hf_" + "a" * 34,
        "sk-" + "b" * 30,
        "ghp_" + "c" * 36,
        "AKIA" + "D" * 16,
        "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl",
    ],
)
def test_known_shapes_are_cut_out_of_texts(secret: str) -> None:
    assert clean_text(f"refused: {secret}, sorry") == f"refused: {REMOVED}, sorry"


def test_addresses_lose_user_and_keys() -> None:
    assert clean_text("https://me:pw@host/v1?model=a&api_key=zz9") == f"https://{REMOVED}@host/v1?model=a&{REMOVED}"
    assert clean_text("Authorization: Bearer abcdefgh12345") == f"Authorization: Bearer {REMOVED}"


def test_machine_paths_keep_their_last_part() -> None:
    assert clean({"checkpoint": "/home/someone/models/llava"}) == {"checkpoint": "…/llava"}
    assert clean("C:\\Users\\someone\\model.bin") == "…/model.bin"
    assert clean("org/model") == "org/model"
    assert clean("two\n/lines") == "two\n/lines"
