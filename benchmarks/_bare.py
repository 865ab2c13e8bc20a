"""The bare onnxruntime-genai loop in a process of its own, asked over standard input.

This is what one would write without Nearfar: a generator, append, generate until the end. It has
its own process so that its threads and those of the engine's worker do not share a pool.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any


class Bare:
    """The asking side."""

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        command = [sys.executable, __file__, str(folder), str(threads or 0)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, ids: list[int], tokens: int) -> dict[str, Any]:
        """``first_token_s``, ``decode_s`` (from the first to the last token), ``tokens``."""
        return self._ask({"do": "run", "ids": ids, "tokens": tokens})

    def stall(self, ids: list[int]) -> list[float]:
        """Gaps of an event loop, beyond its 1 ms tick, while a thread of the process prefills."""
        gaps: list[float] = self._ask({"do": "stall", "ids": ids})["gaps"]
        return gaps

    def close(self) -> None:
        self._process.communicate(timeout=30)

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


async def gaps_while(awaited: Any) -> list[float]:
    """How much later than its 1 ms a ticker woke, each time, until ``awaited`` is done."""
    task = asyncio.ensure_future(awaited)
    gaps = []
    while not task.done():
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        gaps.append(max(0.0, time.perf_counter() - before - 0.001))
    await task
    return gaps


def generate(model: Any, ids: list[int], tokens: int) -> dict[str, Any]:
    import numpy as np
    import onnxruntime_genai as og

    begin = time.perf_counter()
    params = og.GeneratorParams(model)
    params.set_search_options(do_sample=False, max_length=len(ids) + tokens)
    generator = og.Generator(model, params)
    generator.append_tokens(np.array([ids], np.int32))
    generator.generate_next_token()
    out = [int(generator.get_next_tokens()[0])]
    first = time.perf_counter()
    while not generator.is_done() and len(out) < tokens:
        generator.generate_next_token()
        out.append(int(generator.get_next_tokens()[0]))
    end = time.perf_counter()
    return {"first_token_s": first - begin, "decode_s": end - first, "tokens": out}


async def stall(model: Any, ids: list[int]) -> dict[str, Any]:
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        generate(model, ids, 1)
        loop.call_soon_threadsafe(done.set)

    threading.Thread(target=work).start()
    return {"gaps": await gaps_while(done.wait())}


def main() -> None:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime_genai as og

    config = og.Config(sys.argv[1])
    model = og.Model(config)
    for line in sys.stdin:
        question = json.loads(line)
        if question["do"] == "run":
            answer = generate(model, question["ids"], question["tokens"])
        else:
            answer = asyncio.run(stall(model, question["ids"]))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
