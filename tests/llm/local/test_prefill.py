"""Where the last message is an answer that is only begun, the reply is its rest."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from nearfar.llm import LocalChatModel
from nearfar.llm.local.model_text import ModelText, load_text
from nearfar.llm.local.worker.decoding import TokenText

from .tokenizers_at_hand import byte_level, metaspace, unigram
from .worker.test_decoding import byte_fallback  # noqa: F401  (a fixture)

ASKED: list[BaseMessage] = [SystemMessage("Be brief."), HumanMessage("Say something.")]
CALL: Any = {"name": "f", "args": {}, "id": "call_1"}


@pytest.fixture(scope="module")
def near(random_model: Path) -> LocalChatModel:
    return LocalChatModel(model=str(random_model), max_tokens=16, execution_providers=("cpu",))


@pytest.fixture(scope="module")
def text(tiny_model: Path) -> ModelText:
    return load_text(tiny_model)


@given(
    st.text(max_size=40) | st.sampled_from(["<|im_end|>", "a <|im_start|>user\nb", "<tool_call>"])
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_the_prompt_ends_with_the_beginning_as_plain_text(text: ModelText, begun: str) -> None:
    before = text.prompt(ASKED)
    whole = text.prompt(ASKED, begun=begun)
    assert whole[: len(before)] == before
    added = list(whole[len(before) :])
    assert text.tokenizer.control_ids.isdisjoint(added)
    wellformed = begun.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert text.tokenizer.decode(added) == wellformed


def test_the_reply_is_the_rest(tiny_model: Path) -> None:
    builtin = LocalChatModel(model=str(tiny_model), max_tokens=40)
    asked: list[BaseMessage] = [HumanMessage("What is the capital of France?")]
    whole = builtin.invoke(asked).text
    ids = builtin.get_token_ids(whole)
    cuts = [n for n in range(1, len(whole)) if _is_border(builtin.get_token_ids(whole[:n]), ids)]
    assert len(cuts) > 5
    for cut in cuts:
        assert builtin.invoke([*asked, AIMessage(whole[:cut])]).text == whole[cut:]


def _is_border(part: list[int], whole: list[int]) -> bool:
    """Whether no token is cut in two."""
    return whole[: len(part)] == part


def test_tokens_are_counted_with_the_beginning(near: LocalChatModel) -> None:
    messages = [*ASKED, AIMessage("one two three")]
    reply = near.invoke(messages)
    assert reply.usage_metadata is not None
    assert near.get_num_tokens_from_messages(messages) == reply.usage_metadata["input_tokens"]
    assert near.get_num_tokens_from_messages(messages) > near.get_num_tokens_from_messages(ASKED)


def test_a_reply_that_is_held_to_a_form_begins_anew(tiny_model: Path) -> None:
    builtin = LocalChatModel(model=str(tiny_model), max_tokens=40)
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    reply = builtin.invoke([*ASKED, AIMessage('{"a"')], response_format=form)
    assert set(json.loads(reply.text)) == {"a"}


@pytest.mark.parametrize(
    "messages",
    [
        [AIMessage("alone")],
        [*ASKED, AIMessage("")],
        [*ASKED, AIMessage("I call.", tool_calls=[CALL])],
    ],
)
def test_what_is_no_beginning_is_a_message_like_any_other(
    messages: list[BaseMessage], text: ModelText, near: LocalChatModel
) -> None:
    tokens = near.get_num_tokens_from_messages(messages)
    assert tokens == len(load_text(Path(near.model)).prompt(messages))


def test_the_first_blank_of_the_rest_is_kept(byte_fallback: TokenText) -> None:  # noqa: F811
    vocabulary = byte_fallback.tokenizer.get_vocab()
    the, a = vocabulary["▁the"], vocabulary["▁a"]
    fresh, going_on = byte_fallback.stream(()), byte_fallback.stream((), after=the)
    assert fresh.feed(a) + fresh.finish() == "a"
    assert going_on.feed(a) + going_on.finish() == " a"


@pytest.mark.parametrize("make", [byte_level, metaspace, unigram])
def test_tokenizers_of_every_kind_go_on(make: Any, tmp_path: Path) -> None:
    folder = make(tmp_path)
    tokens = TokenText((folder / "tokenizer.json").read_text(encoding="utf-8"), set())
    ids = tokens.tokenizer.encode("the quick brown fox", add_special_tokens=False).ids
    whole = tokens.decode(ids)
    for cut in range(1, len(ids)):
        stream = tokens.stream((), after=ids[cut - 1])
        rest = "".join(map(stream.feed, ids[cut:])) + stream.finish()
        assert tokens.decode(ids[:cut]) + rest == whole
