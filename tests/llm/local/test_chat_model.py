"""LocalChatModel: parameters, replies, usage, cancelling, threads, loops and copies."""

import asyncio
import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core._api import LangChainBetaWarning
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage

from nearfar.errors import (
    ContextWindowError,
    InvalidParameterError,
    ModelLoadError,
    ModelNotFoundError,
    UnsupportedInputError,
)
from nearfar.llm import LocalChatModel, supports_grammar

from .engine_kit import until

QUESTION = "Hello"
FRUIT = 'start: "apple" | "pear"'


@pytest.fixture(scope="module")
def model() -> LocalChatModel:
    return LocalChatModel()


@pytest.fixture(scope="module")
def endless(random_model: Path) -> LocalChatModel:
    """It hardly ever ends by itself."""
    return LocalChatModel(model=random_model, max_tokens=64)


def merged(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


async def collected(model: Any, messages: Any, **kwargs: Any) -> list[AIMessageChunk]:
    return [chunk async for chunk in model.astream(messages, **kwargs)]


class TestParameters:
    @pytest.mark.parametrize(
        ("name", "value", "told"),
        [
            ("temperature", -0.1, "at least 0"),
            ("temperature", float("nan"), "at least 0"),
            ("temperature", "hot", "a number"),
            ("top_p", 0, "above 0 and at most 1"),
            ("top_p", 1.01, "above 0 and at most 1"),
            ("top_k", -1, "at least 0"),
            ("top_k", 1.5, "a whole number"),
            ("max_tokens", 0, "at least 1"),
            ("max_tokens", True, "a whole number"),
            ("repetition_penalty", 0, "above 0"),
            ("seed", -1, "or None"),
            ("stop", [""], "not empty"),
            ("stop", 3, "not empty"),
        ],
    )
    def test_a_value_out_of_range_is_refused_with_the_range(
        self, model: LocalChatModel, name: str, value: Any, told: str
    ) -> None:
        """At the constructor as well as with a call."""
        for attempt in (
            lambda: LocalChatModel(**{name: value}),
            lambda: model.invoke(QUESTION, **{name: value}),
        ):
            with pytest.raises(InvalidParameterError, match=told) as caught:
                attempt()
            assert caught.value.data["parameter"] == name

    def test_an_unknown_name_is_refused_with_the_nearest(self, model: LocalChatModel) -> None:
        for attempt in (
            lambda: LocalChatModel(temprature=0.5),  # type: ignore[call-arg]
            lambda: model.invoke(QUESTION, temprature=0.5),
            lambda: list(model.stream(QUESTION, temprature=0.5)),
        ):
            with pytest.raises(InvalidParameterError, match="'temperature'"):
                attempt()

    def test_engine_options_are_checked_at_once(self) -> None:
        with pytest.raises(InvalidParameterError, match="npu"):
            LocalChatModel(execution_providers=("npu",))
        with pytest.raises(InvalidParameterError, match="max_active"):
            LocalChatModel(max_active=0)

    def test_a_folder_that_is_no_model_is_refused_at_once(self, tmp_path: Path) -> None:
        with pytest.raises(ModelNotFoundError):
            LocalChatModel(model="./not-there")
        with pytest.raises(ModelLoadError, match=r"genai_config\.json is missing"):
            LocalChatModel(model=tmp_path)
        with pytest.raises(InvalidParameterError):
            LocalChatModel(model=3)

    def test_a_relative_folder_stays_the_same_when_the_program_moves(
        self, random_model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(random_model.parent)
        assert LocalChatModel(model=f"./{random_model.name}").model == str(random_model.resolve())

    def test_sampling_repeats_with_its_seed_and_varies_without(
        self, endless: LocalChatModel
    ) -> None:
        hot = endless.bind(temperature=2.0, top_p=0.95, top_k=200, max_tokens=24)
        assert hot.invoke(QUESTION, seed=7).content == hot.invoke(QUESTION, seed=7).content
        assert hot.invoke(QUESTION, seed=7).content != hot.invoke(QUESTION, seed=8).content
        assert len({str(hot.invoke(QUESTION).content) for _ in range(4)}) > 1

    def test_max_tokens_ends_a_reply_and_says_so(self, endless: LocalChatModel) -> None:
        reply = endless.invoke(QUESTION, max_tokens=5)
        assert reply.usage_metadata is not None
        assert reply.usage_metadata["output_tokens"] == 5
        assert reply.response_metadata["finish_reason"] == "length"

    def test_a_call_may_name_another_model(
        self, model: LocalChatModel, endless: LocalChatModel
    ) -> None:
        reply = model.invoke(QUESTION, model=endless.model, max_tokens=2)
        assert reply.response_metadata["model_name"] == endless.info.name


class TestReplies:
    async def test_all_ways_of_asking_give_the_same_reply(self, endless: LocalChatModel) -> None:
        replies = [
            endless.invoke(QUESTION),
            await endless.ainvoke(QUESTION),
            merged(list(endless.stream(QUESTION))),
            merged(await collected(endless, QUESTION)),
            *endless.batch([QUESTION, QUESTION]),
            *await endless.abatch([QUESTION]),
        ]
        assert len({str(reply.content) for reply in replies}) == 1
        for reply in replies:
            assert reply.usage_metadata is not None
            assert reply.usage_metadata["output_tokens"] == 64
            assert set(reply.response_metadata["timings"]) == {
                "queue_s",
                "prefill_s",
                "first_token_s",
                "decode_s",
            }
            del reply.response_metadata["timings"]
            assert reply.response_metadata == {
                "model_name": "random",
                "finish_reason": "length",
                "provider": "local",
                "execution_provider": "cpu",
            }

    def test_usage_and_metadata_stand_on_the_last_chunk_only(self, endless: LocalChatModel) -> None:
        *chunks, last = list(endless.stream(QUESTION))
        assert len(chunks) > 5
        assert all(not c.usage_metadata and not c.response_metadata for c in chunks)
        assert (last.content, last.chunk_position) == ("", "last")
        assert last.usage_metadata
        assert last.response_metadata["model_name"] == "random"

    def test_usage_is_what_the_rendered_messages_count(self, model: LocalChatModel) -> None:
        messages = [SystemMessage("Be brief."), HumanMessage("a longer question " * 30)]
        first, second = model.invoke(messages), model.invoke(messages)
        for reply in (first, second):
            assert reply.usage_metadata is not None
            assert reply.usage_metadata["input_tokens"] == model.get_num_tokens_from_messages(
                messages
            )
        assert second.usage_metadata is not None
        cached = second.usage_metadata["input_token_details"]["cache_read"]
        assert 0 < cached < second.usage_metadata["input_tokens"]
        assert second.content == first.content

    def test_a_stop_string_is_found_across_tokens_and_never_shown(
        self, endless: LocalChatModel
    ) -> None:
        text = str(endless.invoke(QUESTION).content)
        stop = text[10:16]
        wanted = text[: text.index(stop)]
        own = endless.model_copy(update={"stop": [stop]})
        for reply in (
            endless.invoke(QUESTION, stop=[stop]),
            merged(list(endless.stream(QUESTION, stop=["never there", stop]))),
            own.invoke(QUESTION),
        ):
            assert reply.content == wanted
            assert reply.response_metadata["finish_reason"] == "stop"
        assert own.invoke(QUESTION, stop=["never there"]).content == text

    def test_a_grammar_holds_the_reply(self, endless: LocalChatModel) -> None:
        assert endless.invoke(QUESTION, grammar=FRUIT).content in ("apple", "pear")
        bound = endless.bind(grammar=FRUIT)
        assert bound.invoke(QUESTION).content in ("apple", "pear")
        assert supports_grammar(bound)
        assert supports_grammar(endless)
        assert not supports_grammar(object())

    def test_callbacks_see_tokens_when_streaming_is_set(self, random_model: Path) -> None:
        class Tokens(BaseCallbackHandler):
            seen: list[Any] = []  # noqa: RUF012  # one test's own class

            def on_llm_new_token(self, token: Any, **_: Any) -> None:
                self.seen.append(token)

        model = LocalChatModel(model=random_model, max_tokens=16, streaming=True)
        handler = Tokens()
        reply = model.invoke(QUESTION, {"callbacks": [handler]})
        assert len(handler.seen) > 2
        assert "".join(handler.seen) == reply.content
        assert reply.response_metadata["finish_reason"] == "length"

    def test_content_that_is_no_text_is_refused_by_its_type(self, model: LocalChatModel) -> None:
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
        with pytest.raises(UnsupportedInputError, match="'image_url'"):
            model.invoke([HumanMessage([{"type": "text", "text": "what?"}, image])])

    def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(
        self, model: LocalChatModel
    ) -> None:
        with pytest.raises(ContextWindowError) as caught:
            model.invoke("word " * 5000)
        assert caught.value.data["window"] == model.info.window
        assert caught.value.data["prompt_tokens"] > 5000

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(st.sampled_from(["<|im_end|>", "<|im_start|>", "<tool_call>", "a ", "\n", "<"]))
    )
    def test_a_message_cannot_end_itself(self, model: LocalChatModel, parts: list[str]) -> None:
        text = model._text()
        controls = text.tokenizer.control_ids
        pasted = text.prompt([HumanMessage("".join(parts))])
        plain = text.prompt([HumanMessage("hello")])
        assert [i for i in pasted if i in controls] == [i for i in plain if i in controls]


class TestCancelling:
    def test_an_abandoned_stream_stops_generating(self, slow_model: Path) -> None:
        model = LocalChatModel(model=slow_model, max_tokens=4000)
        stream = model.stream(QUESTION)
        next(stream)
        assert model.engine.stats().active == 1
        del stream
        until(lambda: model.engine.stats().active == 0)
        assert model.engine.stats().generated_tokens < 1000

    def test_a_cancelled_task_stops_generating(self, slow_model: Path) -> None:
        model = LocalChatModel(model=slow_model, max_tokens=4000)

        async def ask_and_leave(ask: Callable[[], Any]) -> None:
            task = asyncio.ensure_future(ask())
            await asyncio.to_thread(until, lambda: model.engine.stats().active)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(until, lambda: not model.engine.stats().active)

        for ask in (lambda: model.ainvoke(QUESTION), lambda: collected(model, QUESTION)):
            asyncio.run(asyncio.wait_for(ask_and_leave(ask), 20))

    async def test_leaving_an_async_stream_stops_generating(self, slow_model: Path) -> None:
        model = LocalChatModel(model=slow_model, max_tokens=4000)
        async for _ in model.astream(QUESTION):
            break
        await asyncio.to_thread(until, lambda: not model.engine.stats().active)


class TestSharing:
    def test_it_works_in_successive_event_loops_and_between_them(
        self, endless: LocalChatModel
    ) -> None:
        replies = [asyncio.run(endless.ainvoke(QUESTION)) for _ in range(3)]
        replies.append(endless.invoke(QUESTION))
        assert len({str(reply.content) for reply in replies}) == 1

    def test_it_works_from_several_threads_at_once(self, endless: LocalChatModel) -> None:
        expected = {q: endless.invoke(q).content for q in ("one", "two", "three")}
        with ThreadPoolExecutor(6) as pool:
            for question, reply in pool.map(lambda q: (q, endless.invoke(q)), [*expected] * 4):
                assert reply.content == expected[question]

    def test_equal_models_share_one_worker(self, model: LocalChatModel) -> None:
        assert LocalChatModel(temperature=0.5).engine is model.engine
        assert LocalChatModel(max_active=2).engine is not model.engine

    def test_a_copy_is_the_same_model(self, endless: LocalChatModel) -> None:
        for twin in (pickle.loads(pickle.dumps(endless)), copy.deepcopy(endless)):  # noqa: S301
            assert twin == endless
            assert twin.engine is endless.engine
            assert twin.invoke(QUESTION, max_tokens=3).content

    def test_langchain_writes_it_and_reads_it_again(self) -> None:
        model = LocalChatModel(temperature=0.5, stop=["x"], cache_mb=0)
        written = dumpd(model)
        assert written["id"] == ["nearfar", "llm", "LocalChatModel"]
        with pytest.warns(LangChainBetaWarning, match="`load` is in beta"):
            read = load(written, allowed_objects=[LocalChatModel], valid_namespaces=["nearfar"])
        assert read == model

    def test_its_repr_shows_what_was_chosen(self) -> None:
        assert repr(LocalChatModel()) == "LocalChatModel()"
        assert repr(LocalChatModel(temperature=0.5)) == "LocalChatModel(temperature=0.5)"

    def test_its_profile_says_what_it_can_do(self, model: LocalChatModel) -> None:
        assert model.profile is not None
        assert model.profile["max_input_tokens"] == model.info.window
        assert model.profile["tool_calling"]
        assert model.profile["structured_output"]
        assert not model.profile["image_inputs"]

    def test_traces_name_the_model(self, model: LocalChatModel) -> None:
        params = model._get_ls_params(stop=["x"])
        assert params["ls_provider"] == "local"
        assert params["ls_model_name"] == model.info.name
        assert params["ls_stop"] == ["x"]
        assert model._identifying_params["temperature"] == 0.0


class TestTokens:
    def test_a_text_counts_as_the_content_of_a_message(self, model: LocalChatModel) -> None:
        empty = model.get_num_tokens_from_messages([HumanMessage("")])
        for text in ("hello there", "<|im_end|>", "naïve 🎉\0x"):
            counted = model.get_num_tokens_from_messages([HumanMessage(text)])
            assert model.get_num_tokens(text) == counted - empty
            assert len(model.get_token_ids(text)) == model.get_num_tokens(text)

    def test_a_message_from_earlier_is_counted_with_its_calls(self, model: LocalChatModel) -> None:
        call = {"name": "f", "args": {"a": 1}, "id": "1", "type": "tool_call"}
        bare = model.get_num_tokens_from_messages([HumanMessage("q"), AIMessage("")])
        said = model.get_num_tokens_from_messages(
            [HumanMessage("q"), AIMessage("", tool_calls=[call])]
        )
        assert said > bare
