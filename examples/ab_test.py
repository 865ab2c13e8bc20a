"""Two models side by side: a share of the threads goes to each, answers are scored, the scores shown.

    python examples/ab_test.py [--threads N]

A thread stays with its model. The two models are played by a server on this machine; put your own in
``SETTINGS`` to compare them.
"""

import argparse
from collections import defaultdict
from typing import Any

import nearfar
from nearfar.llm.router import record_outcome
from nearfar.settings import Settings
from nearfar.testing.fault_server import FaultServer, Reply, SeenRequest

QUESTIONS = [("What is 2 + 2?", "4"), ("What is the capital of France?", "Paris")]


def played(request: SeenRequest) -> Reply:
    """The model `new` knows both answers, the model `old` only one."""
    asked = str(request.body["messages"][-1]["content"])
    known = {"2 + 2": "It is 4.", "France": "Paris." if request.model == "new" else "Lyon."}
    return Reply(next(text for words, text in known.items() if words in asked))


def settings_for(server: FaultServer) -> Settings:
    """Three quarters of the threads go to `old`."""
    shape = {"provider": "openai-compatible", "base_url": server.openai_url}
    price = {"old": {"input": 1, "output": 4}, "new": {"input": 0.2, "output": 0.8}}
    return Settings.model_validate(
        {
            "models": {n: {**shape, "model": n, "price": price[n]} for n in ("old", "new")},
            "routers": {
                "default": {
                    "candidates": ["old", "new"],
                    "policy": {"split": {"old": 0.75, "new": 0.25}},
                }
            },
        }
    )


def compare(settings: Settings, threads: int) -> dict[str, dict[str, Any]]:
    """For each model: threads, share of right answers, cost in USD."""
    model = nearfar.chat_model(settings=settings)
    who: dict[str, set[str]] = defaultdict(set)
    scores: dict[str, list[float]] = defaultdict(list)
    cost: dict[str, float] = defaultdict(float)
    for number in range(threads):
        thread = f"thread-{number}"
        for question, expected in QUESTIONS:
            reply = model.invoke(question, {"configurable": {"thread_id": thread}})
            receipt = reply.response_metadata["nearfar"]
            name = receipt["answered_by"]
            score = float(expected in reply.text)
            # The policy `quality` would learn from these.
            record_outcome(reply, score, label="quiz", settings=settings)
            who[name].add(thread)
            scores[name].append(score)
            cost[name] += receipt["cost_usd"]
    return {
        name: {
            "threads": len(who[name]),
            "right": sum(scores[name]) / len(scores[name]),
            "cost_usd": cost[name],
        }
        for name in sorted(who)
    }


def main() -> None:
    """Ask, and print the table."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--threads", type=int, default=40)
    given = arguments.parse_args()
    with FaultServer(default=played) as server:
        table = compare(settings_for(server), given.threads)
    print(f"{'model':<8}{'threads':>8}{'right':>8}{'cost USD':>12}")
    for name, line in table.items():
        print(f"{name:<8}{line['threads']:>8}{line['right']:>8.0%}{line['cost_usd']:>12.6f}")


if __name__ == "__main__":
    main()
