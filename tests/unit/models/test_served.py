"""Served models against a real HTTP server on the loopback. Evidence: what arrives there, and what it does."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.errors import ModelError
from harness.fingerprint import fingerprint
from harness.models.base import Generation
from harness.models.served import Served
from harness.models.served_http import MAX_BODY_BYTES, Pace
from harness.records import GenerationSettings, ModelSettings, Problem
from tests.chat_server import ChatServer, completion
from tests.model_inputs import GREEDY, item, picture

KEY = "sk-Planted/Key+7f3a9"
FAST = {"backoff_s": 0.001, "timeout_s": 5.0}


def settings(server: ChatServer | str, **options: Any) -> ModelSettings:
    url = server if isinstance(server, str) else server.url
    return ModelSettings("served", "openai", options={"base_url": url, "model": "tiny", **FAST, **options})


def ask(server: ChatServer, count: int = 1, given: GenerationSettings = GREEDY, **options: Any) -> list[Any]:
    model = Served.load(settings(server, **options))
    try:
        return model.generate(model.prepare([item(n, f"question {n}") for n in range(count)]), given)
    finally:
        model.close()


def kinds(answers: list[Any]) -> list[str]:
    return [answer.kind if isinstance(answer, Problem) else "answer" for answer in answers]


# What is sent and what is read


def test_a_question_arrives_with_its_picture_pixel_for_pixel_before_the_text() -> None:
    with ChatServer() as server:
        (answer,) = ask(server, system="Be brief.", image_detail="low")
        assert answer == Generation(server.says(server.bodies[0]), 11, 3)
    system, user = server.bodies[0]["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    image, text = user["content"]
    assert text == {"type": "text", "text": "question 0"}
    assert image["image_url"]["detail"] == "low"
    head, _, data = image["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    sent = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    np.testing.assert_array_equal(sent, np.asarray(picture(0)))


def test_a_question_without_picture_is_plain_text() -> None:
    with ChatServer() as server:
        model = Served.load(settings(server))
        model.generate(model.prepare([item(0, "hello", pictures=())]), GREEDY)
        model.close()
    assert server.bodies[0]["messages"] == [{"role": "user", "content": "hello"}]


def test_greedy_settings_are_temperature_zero_and_sampled_ones_have_a_seed_of_their_own() -> None:
    sampled = GenerationSettings(max_new_tokens=7, do_sample=True, temperature=0.5, top_p=0.9, stop=("\n",), seed=3)
    with ChatServer() as server:
        ask(server, 1, GREEDY)
        ask(server, 2, sampled, length_field="max_completion_tokens", concurrency=1)
        ask(server, 1, sampled, length_field="max_completion_tokens")
    greedy, first, second, again = ({k: v for k, v in b.items() if k != "messages"} for b in server.bodies)
    assert greedy == {"model": "tiny", "max_tokens": 12, "temperature": 0.0}
    seed = first.pop("seed")
    assert first == {
        "model": "tiny", "max_completion_tokens": 7, "temperature": 0.5, "top_p": 0.9, "stop": ["\n"],
    }  # fmt: skip
    assert seed == again["seed"] != second["seed"]


@pytest.mark.parametrize(
    ("changes", "extra"),
    [
        ({"num_beams": 3}, {"use_beam_search": True, "n": 3}),
        ({"num_beams": 3, "length_penalty": 2.0}, {"use_beam_search": True, "n": 3, "length_penalty": 2.0}),
        ({"repetition_penalty": 1.2}, {"repetition_penalty": 1.2}),
        ({"min_new_tokens": 2}, {"min_tokens": 2}),
    ],
)
def test_a_setting_without_a_field_is_a_problem_unless_extra_body_holds_it(
    changes: dict[str, Any], extra: dict[str, Any]
) -> None:
    given = dataclasses.replace(GREEDY, **changes)
    with ChatServer() as server:
        (refused,) = ask(server, 1, given)
        assert server.asked == 0
        assert refused.kind == "unsupported_settings"
        assert f"generation.{next(iter(changes))} is" in refused.message
        assert isinstance(ask(server, 1, given, extra_body=extra)[0], Generation)
    assert extra.items() <= server.bodies[0].items()


def test_an_answer_is_cut_at_a_stop_string_that_the_server_kept() -> None:
    with ChatServer(says=lambda body: "12\nQ: next") as server:
        (answer,) = ask(server, 1, dataclasses.replace(GREEDY, stop=("\nQ:",)))
    assert answer.text == "12"


def test_a_batch_is_asked_at_once_within_the_limit_and_answered_in_order() -> None:
    gate = threading.Barrier(3, timeout=10)

    def together(number: int, body: dict[str, Any]) -> str:
        gate.wait()
        return "answer"

    with ChatServer(together) as server:
        answers = ask(server, 6, concurrency=3)
        assert server.busiest == 3
        said = {b["messages"][0]["content"][-1]["text"]: server.says(b) for b in server.bodies}
    assert [a.text for a in answers] == [said[f"question {n}"] for n in range(6)]


# Replies without an answer


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>Bad gateway</html>", "server_nonsense"),
        (b"", "server_nonsense"),
        (b'{"choices": [{"message": {"content": "\xff\xfe"}}]}', "server_nonsense"),
        (b"[" * 100_000, "server_nonsense"),
        (b"null", "server_nonsense"),
        (b'{"error": {"message": "out of memory"}}', "server_nonsense"),
        (b'{"choices": []}', "server_nonsense"),
        (b'{"choices": [{"message": null}]}', "server_nonsense"),
        (b'{"choices": ["text"]}', "server_nonsense"),
        (json.dumps(completion(None, "length")).encode(), "server_nonsense"),
        (json.dumps(completion("", "content_filter")).encode(), "content_filter"),
        (json.dumps(completion(None, refusal="I will not")).encode(), "content_filter"),
        (b"x" * (MAX_BODY_BYTES + 1), "server_nonsense"),
    ],
)
def test_a_reply_without_an_answer_concerns_that_request_alone(body: bytes, kind: str) -> None:
    with ChatServer(lambda number, _: body if number == 2 else "answer") as server:
        answers = ask(server, 3, concurrency=1)
    assert kinds(answers) == ["answer", kind, "answer"]
    assert server.asked == 3
    assert len(answers[1].message) < 300


def test_an_empty_answer_is_an_answer() -> None:
    with ChatServer(says=lambda body: "") as server:
        assert ask(server) == [Generation("", 11, 3)]


def test_token_counts_that_are_none_are_not_made_up() -> None:
    odd = {**completion("yes"), "usage": {"prompt_tokens": "many", "completion_tokens": True}}
    with ChatServer(lambda *_: json.dumps(odd).encode()) as server:
        assert ask(server) == [Generation("yes")]


# Retries


@pytest.mark.parametrize("failure", [408, 409, 429, 500, 503, "drop"])
def test_a_passing_failure_is_asked_again(failure: int | str) -> None:
    with ChatServer(lambda number, _: failure if number < 3 else "answer") as server:
        assert kinds(ask(server)) == ["answer"]
        assert server.asked == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 307])
def test_a_refusal_is_not_asked_again_and_is_named_with_status_and_reason(status: int) -> None:
    with ChatServer(lambda *_: status) as server:
        (answer,) = ask(server)
        assert server.asked == 1
    assert answer.kind == "refused"
    assert f"status {status}: status {status} for" in answer.message


@pytest.mark.parametrize(("status", "kind"), [(429, "rate_limited"), (500, "server_error")])
def test_retries_end_and_say_so(status: int, kind: str) -> None:
    with ChatServer(lambda *_: status) as server:
        (answer,) = ask(server, retries=2)
        assert server.asked == 3
    assert answer.kind == kind
    assert "attempt 3" in answer.message


def test_all_requests_together_have_one_budget_of_retries() -> None:
    with ChatServer(lambda *_: 500) as server:
        answers = ask(server, 5, retries=10, retry_budget=4)
        assert server.asked == 5 + 4
    assert kinds(answers) == ["server_error"] * 5
    assert "retry_budget are spent" in answers[-1].message


def test_the_server_is_left_alone_as_long_as_it_asks_for() -> None:
    with ChatServer(lambda number, _: 429 if number == 1 else "answer", headers={"Retry-After": "0.4"}) as server:
        assert kinds(ask(server)) == ["answer"]
        assert server.times[1] - server.times[0] >= 0.4


def test_a_server_that_asks_for_too_long_is_not_waited_for() -> None:
    with ChatServer(lambda *_: 429, headers={"Retry-After": "Wed, 21 Oct 2999 07:28:00 GMT"}) as server:
        (answer,) = ask(server)
        assert server.asked == 1
    assert answer.kind == "rate_limited"
    assert "max_wait_s" in answer.message


def test_a_server_that_hangs_is_a_timeout_and_not_asked_again() -> None:
    with ChatServer(lambda number, _: "hang" if number == 1 else "answer") as server:
        start = time.monotonic()
        answers = ask(server, 2, concurrency=1, timeout_s=0.3)
        assert time.monotonic() - start < 5
        assert server.asked == 2
    assert kinds(answers) == ["timeout", "answer"]


def test_a_dead_server_ends_the_run_quickly_after_so_many_requests_in_a_row() -> None:
    with ChatServer(lambda *_: "drop") as server:
        answers = ask(server, 50, concurrency=1, retries=1, give_up_after=3)
        assert server.asked == 3 * 2
    assert kinds(answers) == ["no_connection"] * 50
    assert answers[-1].message.startswith("not asked: 3 requests in a row had no answer")


def test_an_answer_between_failures_is_no_reason_to_give_up() -> None:
    with ChatServer(lambda number, _: "drop" if number % 3 else "answer") as server:
        answers = ask(server, 12, concurrency=1, retries=0, give_up_after=3)
    assert kinds(answers) == ["no_connection", "no_connection", "answer"] * 4


def test_giving_up_wakes_the_requests_that_wait() -> None:
    with ChatServer(lambda *_: "drop") as server:
        model = Served.load(settings(server, backoff_s=30.0, concurrency=2, retries=3))
        threading.Timer(0.3, lambda: model.client.stop("enough")).start()
        start = time.monotonic()
        answers = model.generate(model.prepare([item(0, "a"), item(1, "b")]), GREEDY)
        assert time.monotonic() - start < 10
        model.close()
    assert kinds(answers) == ["no_connection"] * 2


def test_waits_grow_are_bounded_and_are_the_same_in_every_run() -> None:
    with ChatServer() as server:
        client = Served.load(settings(server, backoff_s=1.0, max_wait_s=10.0)).client
    waits = [client._backoff(attempt, "f0") for attempt in range(1, 8)]
    assert waits == [client._backoff(attempt, "f0") for attempt in range(1, 8)]
    for wait, longest in zip(waits, [1, 2, 4, 8, 10, 10, 10], strict=True):
        assert longest / 2 <= wait <= longest
    assert client._backoff(1, "f0") != client._backoff(1, "f1")
    assert client._backoff(5000, "f0") <= 10
    client.close()


def test_requests_per_minute_keep_their_distance() -> None:
    with ChatServer() as server:
        ask(server, 4, max_requests_per_minute=600, concurrency=4)
    gaps = np.diff(sorted(server.times))
    assert gaps.min() > 0.05
    pace = Pace(None)
    pace.pause(5.0)
    assert pace.turn() == pytest.approx(5.0, abs=0.5)


# The key


def everything(caplog: pytest.LogCaptureFixture, *values: Any) -> str:
    return caplog.text + "".join(f"{value!r} {value}" for value in values)


def test_the_key_opens_the_server_and_is_in_no_identity_log_or_representation(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    with ChatServer(key=KEY) as server:
        given = settings(server, api_key_env="TEST_KEY")
        identity, model = Served.identify(given), Served.load(given)
        (answer,) = model.generate(model.prepare([item(0, "q")]), GREEDY)
        assert isinstance(answer, Generation)
        text = everything(caplog, identity, model, vars(model.client), model.client._client.headers, given)
        model.close()
    hidden = repr(model.client._hidden)
    assert KEY not in text.replace(hidden, "")


@pytest.mark.parametrize("escaped", [False, True])
def test_a_server_that_echoes_the_key_does_not_get_it_into_an_answer_or_a_message(
    monkeypatch: pytest.MonkeyPatch, escaped: bool
) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    body = json.dumps(completion(f"you are {KEY}")).encode()
    echo = body.replace(b"/", b"\\/") if escaped else body
    nonsense = b"<html>" + b"." * 45 + KEY.encode()
    script = {1: echo, 2: nonsense, 3: 400}
    with ChatServer(lambda number, _: script[number]) as server:
        answers = ask(server, 3, concurrency=1, api_key_env="TEST_KEY")
    assert answers[0].text == "you are [key]"
    assert kinds(answers) == ["answer", "server_nonsense", "refused"]
    assert all(KEY[:6] not in answer.message for answer in answers[1:])


def test_a_wrong_key_stops_the_model_before_the_run_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "wrong-key-123")
    with (
        ChatServer(key=KEY) as server,
        pytest.raises(ModelError, match=r"status 401: wrong key, got Bearer \[key\]") as e,
    ):
        Served.identify(settings(server, api_key_env="TEST_KEY"))
    assert "wrong-key-123" not in str(e.value)


@pytest.mark.parametrize("value", [None, "", "two words", "line\nbreak", "schlüssel"])
def test_a_variable_without_a_usable_key_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("TEST_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TEST_KEY", value)
    with pytest.raises(ModelError, match="the environment variable TEST_KEY") as caught:
        Served.load(settings("http://127.0.0.1:1/v1", api_key_env="TEST_KEY"))
    assert not value or value not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"api_key_env": "sk-secret-1"}, "api_key_env"),
        ({"base_url": "http://user:hunter2@host/v1"}, "leave out user"),
        ({"base_url": "http://host/v1?api_key=hunter2"}, "leave out user"),
        ({"base_url": "localhost:8000"}, "give an address such as"),
        ({"base_url": "http://host/v1/chat/completions"}, "leave out /chat/completions"),
        ({"extra_body": {"temperature": 1}}, "temperature is set by the harness"),
        ({"concurrency": 0}, "concurrency"),
        ({"model": ""}, "model"),
    ],
)
def test_a_wrong_option_is_named_and_a_secret_in_it_is_not_repeated(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        Served.load(settings("http://host/v1", **options))
    shown = f"{caught.value} {caught.value.__cause__}"
    assert "hunter2" not in shown
    assert "sk-secret-1" not in shown


# Identity


def test_the_identity_holds_name_host_and_the_servers_revision_with_a_warning() -> None:
    with ChatServer() as server:
        identity = Served.identify(settings(server))
        assert identity.weights == f"served:tiny@127.0.0.1:{server.port}#r1"
    assert identity.processing["server"] == {"revision": "r1"}
    assert any("cannot be verified" in warning for warning in identity.warnings)


def test_patience_changes_no_identity_and_what_is_sent_does() -> None:
    with ChatServer() as server:
        plain = fingerprint(Served.identify(settings(server)))
        patient = settings(server, concurrency=2, retries=9, timeout_s=9.0, max_requests_per_minute=600)
        assert fingerprint(Served.identify(patient)) == plain
        assert fingerprint(Served.identify(settings(server, system="Be brief."))) != plain
        server.models["data"][0]["revision"] = "r2"
        assert fingerprint(Served.identify(settings(server))) != plain


@pytest.mark.parametrize(
    "models", [404, 500, {"data": []}, {"data": [{"id": "other"}]}, ["odd"], {"data": [{"id": "tiny"}]}]
)
def test_a_server_that_tells_no_revision_is_used_with_a_warning(models: Any) -> None:
    with ChatServer(models=models) as server:
        identity = Served.identify(settings(server))
    assert identity.processing["server"] == {}
    assert any("tells no revision" in warning for warning in identity.warnings)


def test_a_server_that_is_not_there_is_a_model_error_with_a_remedy() -> None:
    with ChatServer() as server:
        gone = settings(server)
    with pytest.raises(ModelError, match=r"no_connection.*start the server, or correct run\.options\.base_url"):
        Served.identify(gone)


def test_neither_redirects_nor_the_machines_proxies_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with ChatServer() as other, ChatServer(lambda *_: 307, headers={"Location": other.url}) as server:
        assert kinds(ask(server)) == ["refused"]
        assert (server.asked, other.asked) == (1, 0)


def test_a_key_over_plain_http_to_another_machine_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    seen: list[Callable[..., Any]] = []
    monkeypatch.setattr("harness.models.served._listed", lambda *given: (seen.append(given[2].ask), ({}, []))[1])
    identity = Served.identify(settings("http://gpu7.example:8000/v1", api_key_env="TEST_KEY"))
    assert any("unencrypted to gpu7.example" in warning for warning in identity.warnings)
