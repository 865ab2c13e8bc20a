"""One of several programs that spend from one budget: FOLDER CALLERS [MAX_TOKENS]; writes a line for each reply."""

import asyncio
import sys
from pathlib import Path

from nearfar import chat_model
from nearfar.errors import BudgetExhaustedError


async def main(folder: Path, callers: int, max_tokens: int | None) -> None:
    model = chat_model("default", settings=folder / "nearfar.yaml")

    async def call() -> None:
        try:
            await model.ainvoke("x", max_tokens=max_tokens)
            word = "answered"
        except BudgetExhaustedError:
            word = "refused"
        sys.stdout.write(f"{word}\n")
        sys.stdout.flush()

    await asyncio.gather(*(call() for _ in range(callers)))


asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else None))
