"""A policy of one's own: the cheapest model that has room to spare, and at night the one at home.

    python examples/custom_policy.py

In nearfar.yaml a router names it as ``policy: "custom_policy:thrifty"`` (the folder must be on
Python's path). Policies combine: ``thrifty.then(...)``, ``a | b``, ``a & b``.
"""

from collections.abc import Sequence
from datetime import datetime

import nearfar
from nearfar.llm.router import Candidate, Request
from nearfar.settings import Settings
from nearfar.testing.fault_server import FaultServer, Reply

NIGHT = range(22, 24), range(6)
ROOM = 2.0
"""A model has room to spare when its window is so many times the prompt."""


def thrifty(request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """All candidates, in the order in which they are to be tried."""
    at_night = any(datetime.now().astimezone().hour in hours for hours in NIGHT)

    def rank(candidate: Candidate) -> tuple[bool, bool, float]:
        window = candidate.takes.max_input_tokens
        prompt = candidate.count(request.messages, request.tools)
        tight = window is not None and window < ROOM * prompt
        price = candidate.price.rates(prompt).input if candidate.price else None
        return tight, at_night and not candidate.local, float("inf" if price is None else price)

    return sorted(candidates, key=rank)


def main() -> None:
    """A short prompt goes to the small cheap model, a long one to the large one."""
    with FaultServer(default=Reply("Here is my answer.")) as server:
        shape = {"provider": "openai-compatible", "base_url": server.openai_url}
        small = {"price": {"input": 0.1, "output": 0.4}, "profile": {"max_input_tokens": 1_000}}
        large = {"price": {"input": 2, "output": 8}, "profile": {"max_input_tokens": 100_000}}
        settings = Settings.model_validate(
            {
                "models": {
                    "small": {**shape, "model": "small", **small},
                    "large": {**shape, "model": "large", **large},
                },
                "routers": {
                    "default": {"candidates": ["large", "small"], "policy": f"{__name__}:thrifty"}
                },
            }
        )
        model = nearfar.chat_model(settings=settings)
        for prompt in ("A short question.", "A long story. " * 150):
            receipt = model.invoke(prompt).response_metadata["nearfar"]
            print(f"{len(prompt):>5} letters: {receipt['answered_by']}")


if __name__ == "__main__":
    main()
