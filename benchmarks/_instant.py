"""An upstream that answers at once, in a process of its own, so that only the clients' time counts.

It speaks as much of OpenAI's chat completions as a benchmark needs. The first part of the path says
how it behaves: ``/good/v1`` answers in three words, ``/long/v1`` streams a hundred, ``/500/v1`` and
``/429/v1`` fail. Prints its port.
"""

import asyncio
import json
import sys
from typing import Any

CHUNKS = 100
WORD = "word "


def _body(reply: dict[str, Any]) -> bytes:
    return json.dumps(reply, separators=(",", ":")).encode()


_COMMON = {"id": "c", "created": 1, "model": "m"}
_USAGE = {"prompt_tokens": 10, "completion_tokens": CHUNKS, "total_tokens": 10 + CHUNKS}
_WHOLE = _body(
    {
        **_COMMON,
        "object": "chat.completion",
        "usage": _USAGE,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "A short answer."},
            }
        ],
    }
)
_ERROR = _body({"error": {"message": "made to fail", "type": "server_error"}})


def _event(choices: list[dict[str, Any]], **more: Any) -> bytes:
    chunk = {**_COMMON, "object": "chat.completion.chunk", "choices": choices, **more}
    return b"data: " + _body(chunk) + b"\n\n"


def _delta(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish}


def _stream(words: int) -> bytes:
    events = [
        _event([_delta({"role": "assistant", "content": ""})]),
        *[_event([_delta({"content": WORD})])] * words,
        _event([_delta({}, "stop")]),
        _event([], usage=_USAGE),
        b"data: [DONE]\n\n",
    ]
    return b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in events) + b"0\r\n\r\n"


def _plain(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


_SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_ANSWERS = {
    (b"good", False): _plain("200 OK", _WHOLE),
    (b"good", True): _SSE + _stream(3),
    (b"long", True): _SSE + _stream(CHUNKS),
    **{(b"500", s): _plain("500 Internal Server Error", _ERROR) for s in (False, True)},
    **{(b"429", s): _plain("429 Too Many Requests", _ERROR) for s in (False, True)},
}


class Upstream(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._seen = b""

    def data_received(self, data: bytes) -> None:
        self._seen += data
        while (end := self._seen.find(b"\r\n\r\n")) >= 0:
            head = self._seen[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._seen) < end + 4 + length:
                return
            body = self._seen[end + 4 : end + 4 + length]
            self._seen = self._seen[end + 4 + length :]
            kind = head.split(b" ", 2)[1].split(b"/")[1]
            streams = b'"stream":true' in body or b'"stream": true' in body
            self._transport.write(_ANSWERS[kind, streams])


async def serve() -> None:
    """Until standard input ends: the asking side is gone."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
