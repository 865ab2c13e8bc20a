"""A model on this machine as a LangChain chat model."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import ConfigDict, field_validator, model_validator

from nearfar.errors import InvalidParameterError

from .catalog import BUILTIN, LocalModelInfo, known_model, model_folder, read_model
from .constraints import choice_of, constrain, json_schema_format, tools_as_dicts
from .engine import Engine, EngineOptions, GenerationRequest
from .messages import split_begun
from .model_text import ModelText, load_text
from .parameters import RANGES, check, check_names, check_stop, unknown
from .protocol import PROVIDERS
from .replies import Reply
from .structured import StructuredOutputParser, structured_forms, with_raw

Schema = Mapping[str, Any] | type
Tool = Mapping[str, Any] | type | Callable[..., Any] | BaseTool

_ENGINE_FIELDS = (
    "execution_providers",
    "max_active",
    "queue_limit",
    "cache_mb",
    "prefill_slice",
    "hang_s",
    "load_timeout_s",
    "memory_limit_mb",
    "threads",
)


@dataclass(frozen=True)
class _Call:
    """One request, ready to be sent, and the reply that its text will become."""

    engine: Engine
    request: GenerationRequest
    reply: Reply


class LocalChatModel(BaseChatModel):
    """A chat model that runs on this machine, in a worker process of its own.

    Objects that name the same folder and engine options share one worker; it starts with the
    first request. An object can be used from several threads and event loops, copied and pickled.

    All sampling fields can also be given with a call or by ``bind``, and so can ``tools``,
    ``tool_choice``, ``parallel_tool_calls``, ``response_format`` (as OpenAI has it), ``grammar``
    (Lark, as llguidance reads it; without tools) and ``model``. What is out of range or unknown
    raises InvalidParameterError.

    Where the last message is an answer without calls, the reply is its rest; not so where the reply
    is held to tools, a schema or a grammar.
    """

    supports_grammar: ClassVar[bool] = True
    supports_prefill: ClassVar[bool] = True  # LangChain's profiles have no word for it

    model: str = BUILTIN
    """``builtin``, or the folder of a model; kept as an absolute path."""
    max_tokens: int = 512
    """Most tokens of a reply; less where the window leaves less."""
    temperature: float = 0.0
    """0 always takes the likeliest token."""
    top_p: float = 1.0
    """Sample among the likeliest tokens that have this much probability together."""
    top_k: int = 0
    """Sample among this many likeliest tokens; 0 is all."""
    repetition_penalty: float = 1.0
    """Above 1, tokens that occurred are less likely."""
    seed: int | None = None
    """Makes sampling repeatable."""
    stop: list[str] | None = None
    """A reply ends before the first of these; ``stop`` given with a call replaces them."""
    streaming: bool = False
    """Whether ``invoke`` streams inside, so that callbacks see tokens."""

    execution_providers: tuple[str, ...] = PROVIDERS
    """The order in which execution providers are tried."""
    max_active: int = 4
    """Requests that the model works on at the same time."""
    queue_limit: int = 64
    """Requests that may wait; one more raises EngineBusyError."""
    cache_mb: int = 512
    """Memory, in MiB, for the state of earlier prompts; 0 keeps none."""
    prefill_slice: int = 128
    """Prompt tokens read in one go."""
    hang_s: float = 60
    """Seconds without progress after which the worker is stopped."""
    load_timeout_s: float = 300
    """Seconds that loading may take."""
    memory_limit_mb: int | None = None
    """Memory, in MiB, that the worker may use."""
    threads: int | None = None
    """Processor threads; None leaves it to onnxruntime."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Whether LangChain can write it as JSON; it can."""
        return True

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Where LangChain finds the class again; part of what is stored."""
        return ["nearfar", "llm"]

    @model_validator(mode="before")
    @classmethod
    def _known_names(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for name in values:
                if name not in cls.model_fields:
                    raise unknown(name, cls.model_fields.keys() - BaseChatModel.model_fields)
        return values

    @field_validator(*RANGES, mode="before")
    @classmethod
    def _in_range(cls, value: Any, info: Any) -> Any:
        return check(info.field_name, value)

    @field_validator("stop", mode="before")
    @classmethod
    def _list_of_stops(cls, value: Any) -> list[str] | None:
        return list(check_stop(value)) or None

    @field_validator("model", mode="before")
    @classmethod
    def _found(cls, value: Any) -> str:
        """Refuse a folder that is not there now, not at the first request."""
        if not isinstance(value, str | Path):
            data = {"parameter": "model", "value": type(value).__name__}
            raise InvalidParameterError("model must be `builtin` or a folder.", data=data)
        folder = model_folder(value)
        read_model(folder)
        return BUILTIN if str(value) == BUILTIN else str(folder)

    @model_validator(mode="after")
    def _engine_can_be_asked_for(self) -> "LocalChatModel":
        self._options(Path(self.model))
        return self

    @property
    def info(self) -> LocalModelInfo:
        """What the model's folder says about it."""
        return known_model(model_folder(self.model))

    @property
    def engine(self) -> Engine:
        """The engine behind this model, shared with others of the same folder and options."""
        return Engine.shared(self._options(model_folder(self.model)))

    @property
    def _llm_type(self) -> str:
        return "nearfar-local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("model", "stop", *RANGES)}

    def __repr_args__(self) -> Any:
        """What differs from the defaults; without what is derived."""
        return [pair for pair in super().__repr_args__() if pair[0] not in ("profile", "metadata")]

    def _resolve_model_profile(self) -> ModelProfile:
        info = self.info
        derived = ModelProfile(
            name=info.name,
            max_input_tokens=info.window,
            max_output_tokens=info.window,
            text_inputs=True,
            image_inputs=False,
            image_url_inputs=False,
            pdf_inputs=False,
            audio_inputs=False,
            video_inputs=False,
            text_outputs=True,
            image_outputs=False,
            audio_outputs=False,
            video_outputs=False,
            reasoning_output=False,
            tool_calling=True,
            tool_choice=True,
            tool_call_streaming=True,
            structured_output=True,
            temperature=True,
        )
        return cast("ModelProfile", {**derived, **info.profile})

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = "local"
        if not isinstance(kwargs.get("model"), str):
            params["ls_model_name"] = self.info.name
        return params

    # Tokens

    def get_token_ids(self, text: str) -> list[int]:
        """Token ids of the text as the content of a message: control tokens in it stay text."""
        return self._text().tokenizer.encode(text, special=False)

    def get_num_tokens(self, text: str) -> int:
        """Tokens of the text as the content of a message."""
        return len(self.get_token_ids(text))

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Tool] | None = None
    ) -> int:
        """The exact ``input_tokens`` of a request with these messages and tools."""
        asked, begun = (messages, "") if tools else split_begun(messages)
        return len(self._text().prompt(asked, tools_as_dicts(tools or ()), begun=begun))

    # Tools and structured output

    def bind_tools(
        self,
        tools: Sequence[Tool],
        *,
        tool_choice: str | bool | Mapping[str, Any] | None = None,
        parallel_tool_calls: bool | None = None,
        strict: bool | None = None,  # noqa: ARG002  # see the docstring
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """A model that may call the tools, or must.

        Args:
            tools: anything that LangChain makes a tool of.
            tool_choice: ``auto`` (text or calls, never half of each), ``any`` or ``required`` (one
                call at least), ``none``, a tool's name, or OpenAI's or Anthropic's object for these.
            parallel_tool_calls: whether one reply may hold several calls; None leaves it to the
                model's family.
            strict: for callers written for other providers; arguments always follow the schema.
            kwargs: further arguments of each call.

        Raises:
            UnsupportedSchemaError: if a tool's schema cannot be forced.
            InvalidParameterError: if ``tool_choice`` is none of the tools.

        """
        definitions = tools_as_dicts(tools)
        bound: dict[str, Any] = {"tools": definitions, **kwargs} if definitions else {**kwargs}
        if tool_choice is not None:
            names = [definition["function"]["name"] for definition in definitions]
            bound["tool_choice"] = choice_of(tool_choice, names)
        if parallel_tool_calls is not None:
            bound["parallel_tool_calls"] = parallel_tool_calls
        constrain(self._text().dialect, bound)
        return self.bind(**bound)

    def with_structured_output(
        self,
        schema: Schema,
        *,
        include_raw: bool = False,
        method: Literal["json_schema", "function_calling", "json_mode"] = "json_schema",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """A model whose answers are objects of a pydantic class, or dicts of another schema.

        Args:
            schema: a pydantic class, a TypedDict class, a JSON schema or an OpenAI function.
            include_raw: give ``{"raw", "parsed", "parsing_error"}`` instead, and raise nothing.
            method: ``json_schema`` and ``json_mode`` force the answer's text into the schema,
                ``function_calling`` shows it to the model as a tool that it must call.
            strict: for callers written for other providers; answers always follow the schema.
            kwargs: further arguments of each call.

        Raises:
            UnsupportedSchemaError: if the schema cannot be forced.

        """
        json_schema, tool = structured_forms(schema)
        name = str(json_schema.get("title", "answer"))
        form = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
        if method == "function_calling":
            bound = self.bind_tools(
                [cast("Tool", tool)], tool_choice=name, parallel_tool_calls=False, **kwargs
            ).bind(ls_structured_output_format=form)
        elif method in ("json_schema", "json_mode"):
            response_format = json_schema_format(name, json_schema)
            bound = self.bind_tools([], response_format=response_format, **kwargs).bind(
                ls_structured_output_format=form
            )
        else:
            raise InvalidParameterError(
                f"method must be json_schema, function_calling or json_mode, not {method!r}.",
                data={"parameter": "method", "value": str(method)},
            )
        tool_name = name if method == "function_calling" else None
        parser = StructuredOutputParser.for_schema(schema, json_schema, tool_name)
        return with_raw(bound, parser) if include_raw else bound | parser

    # Generation: preparing and reading are shared, only the waiting differs

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002  # LangChain's signature
        **kwargs: Any,
    ) -> ChatResult:
        call = self._prepare(messages, stop, kwargs)
        with closing(call.engine.generate(call.request)) as items:
            for item in items:
                call.reply.take(item)
        return call.reply.result()

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002  # as above
        **kwargs: Any,
    ) -> ChatResult:
        call = await asyncio.to_thread(self._prepare, messages, stop, kwargs)
        async with aclosing(call.engine.agenerate(call.request)) as items:
            async for item in items:
                call.reply.take(item)
        return call.reply.result()

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = self._prepare(messages, stop, kwargs)
        with closing(call.engine.generate(call.request)) as items:
            for item in items:
                for chunk in call.reply.chunks(item):
                    if run_manager:
                        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = await asyncio.to_thread(self._prepare, messages, stop, kwargs)
        async with aclosing(call.engine.agenerate(call.request)) as items:
            async for item in items:
                for chunk in call.reply.chunks(item):
                    if run_manager:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk

    def _prepare(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]
    ) -> _Call:
        """Everything up to the engine; may take long (tokenizing, building a grammar)."""
        check_names(kwargs)
        folder = model_folder(kwargs.get("model", self.model))
        text = load_text(folder)
        constraint = constrain(text.dialect, kwargs)
        sampling = {name: check(name, kwargs.get(name, getattr(self, name))) for name in RANGES}
        asked, begun = (messages, "") if constraint.grammar else split_begun(messages)
        request = GenerationRequest(
            prompt_ids=text.prompt(asked, constraint.tools, schema=constraint.schema, begun=begun),
            goes_on=bool(begun),
            stop=check_stop(self.stop if stop is None else stop),
            grammar=constraint.grammar,
            visible_special=text.visible_special if constraint.calls else (),
            **sampling,
        )
        engine = Engine.shared(self._options(folder))
        dialect = text.dialect if constraint.calls else None
        return _Call(engine, request, Reply(dialect, text.info.name, lambda: engine.provider))

    async def aprepare(self) -> None:
        """Load the model, if that is still to be done, without blocking the event loop."""
        await asyncio.to_thread(self._text)
        await self.engine.ainfo()

    def _text(self) -> ModelText:
        return load_text(model_folder(self.model))

    def _options(self, folder: Path) -> EngineOptions:
        return EngineOptions(folder, **{name: getattr(self, name) for name in _ENGINE_FIELDS})
