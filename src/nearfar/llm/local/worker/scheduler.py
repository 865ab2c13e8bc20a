"""Several requests, one model: who computes next, and what becomes of the result.

Requests take turns. A turn is one portion of a prompt or one token; while somebody's prompt is
being computed, those who already speak get a few tokens per turn, because a portion takes many
times as long as a token.
"""

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from nearfar.errors import ContextWindowError, InvalidParameterError, NearfarError
from nearfar.llm.local.protocol import GenerationRequest

from .decoding import StopFinder, TextStream, TokenText
from .guidance import GrammarMask, Grammars
from .model import LoadedModel, as_nearfar_error
from .sampling import Sampler, last_logits
from .session_cache import Session, SessionCache, next_border

_TOKENS_BESIDE_PREFILL = 4

Send = Callable[[list[Any]], None]


class Reply:
    """One request on its way to a finished reply."""

    def __init__(self, number: int, request: GenerationRequest, now: float) -> None:
        self.number = number
        self.request = request
        self.prompt = list(request.prompt_ids)
        self.received = now
        self.begun = 0.0
        self.first_token = 0.0
        self.prefill_s = 0.0
        self.limit = 0  # tokens, after what the window leaves
        self.cached = 0
        self.count = 0
        self.last_token = -1
        self.unsent: list[int] = []
        self.session: Session
        self.sampler: Sampler
        self.text: TextStream
        self.stops: StopFinder
        self.mask: GrammarMask | None = None

    @property
    def prefilling(self) -> bool:
        """Whether prompt tokens are still to be computed."""
        return self.count == 0

    def finish_frame(self, reason: str, stop_string: str | None, now: float) -> dict[str, Any]:
        """What the parent makes its ``Finish`` of."""
        return {
            "reason": reason,
            "stop_string": stop_string,
            "usage": [len(self.prompt), self.count, self.cached],
            "timings": [
                self.begun - self.received,
                self.prefill_s,
                self.first_token - self.received,
                now - self.first_token,
            ],
        }


class Scheduler:
    """Holds the queue and the active requests of one model."""

    def __init__(
        self,
        model: LoadedModel,
        text: TokenText,
        grammars: Grammars,
        cache: SessionCache,
        send: Send,
        *,
        max_active: int,
        portion: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._facts = model.facts
        self._text = text
        self._known = min(model.facts.vocab_size, text.size)
        self._grammars = grammars
        self._cache = cache
        self._send = send
        self._max_active = max_active
        self._portion = portion
        self._clock = clock
        self._queue: deque[Reply] = deque()
        self._active: list[Reply] = []
        self._generated = 0

    @property
    def idle(self) -> bool:
        """Nothing to do until a frame comes."""
        return not self._active and not self._queue

    def prepare(self) -> None:
        """Use a quiet moment for what the next request would have to wait for."""
        try:
            self._cache.prepare()
        except Exception as error:  # noqa: BLE001 - native code; the next request tries again
            sys.stderr.write(f"No state could be made in advance: {error}\n")

    def submit(self, number: int, request: GenerationRequest) -> None:
        """Take a request, or refuse it before anything is computed."""
        try:
            reply = self._admit(number, request)
        except NearfarError as error:
            self._send_error(number, error)
            return
        self._queue.append(reply)

    def _admit(self, number: int, request: GenerationRequest) -> Reply:
        window, size = self._facts.usable_window, len(request.prompt_ids)
        if size + 1 > window:
            raise ContextWindowError(
                f"The prompt has {size} tokens; with at least one for the reply the window of "
                f"{window} tokens does not hold it.",
                data={"prompt_tokens": size, "window": window},
            )
        if min(request.prompt_ids) < 0 or max(request.prompt_ids) >= self._facts.vocab_size:
            raise InvalidParameterError(
                f"The prompt holds a token that the model does not have; it has "
                f"{self._facts.vocab_size}.",
                data={"parameter": "prompt_ids", "value": max(request.prompt_ids)},
            )
        reply = Reply(number, request, self._clock())
        reply.limit = min(request.max_tokens, window - size)
        reply.sampler = Sampler(request, self._facts.vocab_size)
        if request.grammar is not None:
            reply.mask = self._grammars.mask(request.grammar)
        after = request.prompt_ids[-1] if request.goes_on else None
        reply.text = self._text.stream(request.visible_special, after)
        reply.stops = StopFinder(request.stop)
        return reply

    def cancel(self, number: int) -> None:
        """Stop a request, wherever it is; what it computed stays in the cache."""
        for reply in self._queue:
            if reply.number == number:
                self._queue.remove(reply)
                self._send(["gone", number, self.counters()])
                return
        for reply in self._active:
            if reply.number == number:
                self._active.remove(reply)
                self._cache.release(reply.session)
                self._send(["gone", number, self.counters()])
                return

    def counters(self) -> dict[str, int]:
        """For the parent's statistics."""
        return {
            "generated_tokens": self._generated,
            "cached_sequences": self._cache.idle_count,
            "cache_bytes": self._cache.total_bytes,
        }

    def round(self, between: Callable[[], None]) -> None:
        """One turn for each active request; ``between`` is called after each native call."""
        while self._queue and len(self._active) < self._max_active:
            self._begin(self._queue.popleft())
        mixed = any(reply.prefilling for reply in self._active)
        for reply in list(self._active):
            turns = _TOKENS_BESIDE_PREFILL if mixed and not reply.prefilling else 1
            for _ in range(turns):
                if reply not in self._active:
                    break
                self._step(reply)
                between()

    def _begin(self, reply: Reply) -> None:
        reply.begun = self._clock()
        try:
            reply.session, reply.cached = self._cache.acquire(
                reply.prompt, len(reply.prompt) + reply.limit
            )
        except Exception as error:  # noqa: BLE001 - native code; becomes the request's error
            self._send_error(reply.number, as_nearfar_error(error, "making room for a prompt"))
            return
        self._active.append(reply)
        self._send(["begun", reply.number])

    def _step(self, reply: Reply) -> None:
        try:
            if reply.prefilling:
                started = self._clock()
                ready = self._prefill(reply)
                reply.prefill_s += self._clock() - started
                if not ready:
                    return
            else:
                reply.session.append([reply.last_token])
            logits = last_logits(reply.session.generator.logits(), self._known)
            allowed = None if reply.mask is None else reply.mask.allowed()
            token = reply.sampler.choose(logits, allowed)
        except Exception as error:  # noqa: BLE001 - native code; becomes the request's error
            self._fail(reply, as_nearfar_error(error, "computing"))
            return
        try:
            self._take(reply, token)
        except NearfarError as error:
            self._fail(reply, error)

    def _prefill(self, reply: Reply) -> bool:
        session = reply.session
        position = len(session.tokens)
        border = next_border(position, self._portion)
        end = min(border, len(reply.prompt))
        session.append(reply.prompt[position:end])
        if end == border:
            session.stable = end
        return end == len(reply.prompt)

    def _take(self, reply: Reply, token: int) -> None:
        reply.count += 1
        self._generated += 1
        reply.last_token = token
        reply.unsent.append(token)
        if reply.count == 1:
            reply.first_token = self._clock()
        if token in self._text.end_ids:
            self._end(reply, "stop", "")
            return
        complete = reply.mask is not None and reply.mask.advance(token)
        text, stop_string = reply.stops.feed(reply.text.feed(token))
        if stop_string is not None:
            self._finish(reply, "stop", stop_string, text)
        elif complete or reply.count >= reply.limit:
            self._end(reply, "stop" if complete else "length", text)
        elif text:
            self._send(["text", reply.number, text, reply.unsent])
            reply.unsent = []

    def _end(self, reply: Reply, reason: str, text: str) -> None:
        """An end that comes from a token or a limit: what was held back comes out now."""
        more, stop_string = reply.stops.feed(reply.text.finish())
        if stop_string is None:
            more += reply.stops.finish()
        else:
            reason = "stop"
        self._finish(reply, reason, stop_string, text + more)

    def _finish(self, reply: Reply, reason: str, stop_string: str | None, text: str) -> None:
        self._active.remove(reply)
        self._cache.release(reply.session)
        self._send(["text", reply.number, text, reply.unsent])
        frame = reply.finish_frame(reason, stop_string, self._clock())
        self._send(["done", reply.number, frame, self.counters()])

    def _fail(self, reply: Reply, error: NearfarError) -> None:
        self._active.remove(reply)
        self._cache.discard(reply.session)
        self._send_error(reply.number, error)

    def _send_error(self, number: int, error: NearfarError) -> None:
        name = type(error).__name__
        self._send(["error", number, name, error.message, error.data, self.counters()])
