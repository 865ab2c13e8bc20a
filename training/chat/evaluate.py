"""Measure a chat model of Nearfar on examples that no training has seen.

    python training/chat/evaluate.py --model builtin --quick
    python training/chat/evaluate.py --model FOLDER --questions FILE --json out.json --markdown out.md

It asks through LocalChatModel, greedily, in Nearfar's own environment (no torch). Two models that are
given the same seed see the same examples. Intervals are Wilson's, at 95 %.
"""

import argparse
import asyncio
import json
import math
import time
from pathlib import Path
from typing import Any

from abilities import ABILITIES, ROWS, Asked, messages_of, passages_of
from data.items import REFUSAL, Item, asked

FULL, QUICK = 1000, 100


def wilson(right: int, count: int) -> tuple[float, float]:
    """The interval in which the true share lies, at 95 %."""
    if not count:
        return 0.0, 1.0
    z = 1.959964
    share, spread = right / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / count / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


async def _ask_all(model: Any, items: list[Item], ask: Any, at_once: int) -> list[Asked]:
    gate = asyncio.Semaphore(at_once)

    async def one(item: Item) -> Asked:
        async with gate:
            answer: Asked = await ask(model, item)
            return answer

    return list(await asyncio.gather(*(one(item) for item in items)))


def read_questions(file: Path) -> list[Item]:
    """Questions written by hand: question, passages, answer_sentence and n (null: no answer)."""
    items = []
    for line in file.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        item = asked(
            [" ".join(passage.split()) for passage in entry["passages"]],
            entry["question"],
            "",
            "questions",
        )
        sentence = entry["answer_sentence"]
        right = f"{' '.join(sentence.split())} [{entry['n']}]" if sentence else REFUSAL
        item.check = {"reply": right, "kind": entry.get("kind", "")}
        items.append(item)
    return items


async def _question(model: Any, item: Item) -> Asked:
    """One sentence must be picked, as ask has it where retrieval is sure; and with the way out."""
    from nearfar.graphs.sentences import sentences
    from nearfar.llm.local.grammar import quote_grammar

    numbered = [(n, s.text) for n, p in enumerate(passages_of(item), 1) for s in sentences(p)]
    messages, right = messages_of(item), item.check["reply"]
    grammar = quote_grammar(numbered[:64], REFUSAL, max_quotes=1)
    held = str((await model.ainvoke(messages, grammar=grammar)).text).strip()
    if right == REFUSAL:
        return Asked(item, [held], {"questions unanswered": held == REFUSAL})
    grammar = quote_grammar(numbered[:64], max_quotes=1)
    picked = str((await model.ainvoke(messages, grammar=grammar)).text).strip()
    kind = f"questions, {item.check['kind']}"
    verdict = {"questions": picked == right, "questions false alarms": held == REFUSAL}
    return Asked(
        item, [picked, held], verdict | ({kind: picked == right} if item.check["kind"] else {})
    )


def measure_speed(folder: str) -> dict[str, float]:
    """Load, first token at 1,000 tokens of prompt, decoding: medians of a few runs."""
    from nearfar.llm import LocalChatModel

    model = LocalChatModel(model=folder, cache_mb=0, max_tokens=200)
    words = [f"The number of row {n} is {n * 7}." for n in range(400)]
    while model.get_num_tokens(" ".join(words)) > 990:
        words.pop()
    began = time.perf_counter()
    model.invoke("Hello", max_tokens=1)
    load = time.perf_counter() - began
    firsts, rates = [], []
    for run in range(5):
        text = f"{run} " + " ".join(words)
        began = time.perf_counter()
        model.invoke(text, max_tokens=1)
        firsts.append(time.perf_counter() - began)
        grammar = "start: /[a-z ]{400}/"
        began = time.perf_counter()
        reply = model.invoke(f"{run} hello", grammar=grammar, max_tokens=200)
        rates.append(reply.usage_metadata["output_tokens"] / (time.perf_counter() - began))
    return {
        "load_s": round(load, 3),
        "first_token_s": round(sorted(firsts)[2], 3),
        "decode_tokens_per_s": round(sorted(rates)[2]),
    }


def table(counts: dict[str, tuple[int, int]], facts: dict[str, Any]) -> str:
    """Markdown: each row with its share, interval, bar and count."""
    lines = ["| ability | right | 95 % interval | bar | examples |", "|---|---|---|---|---|"]
    for key, title, bar in ROWS:
        if key not in counts:
            continue
        right, count = counts[key]
        low, high = wilson(right, count)
        wanted = "" if bar is None else (f"{bar:.0%}" if bar > 0 else f"at most {-bar:.0%}")
        share = f"{right / count:.1%}" if count else "-"
        lines.append(f"| {title} | {share} | {low:.1%} to {high:.1%} | {wanted} | {count} |")
    size, speed = facts["size_mb"], facts.get("speed")
    lines += ["", f"Size on disk {size:.1f} MB."]
    if speed:
        lines[-1] += (
            f" Load {speed['load_s']} s, first token at 1,000 tokens of prompt "
            f"{speed['first_token_s']} s, decoding {speed['decode_tokens_per_s']} tokens/s."
        )
    return "\n".join(lines) + "\n"


async def evaluate(
    given: argparse.Namespace,
) -> tuple[dict[str, tuple[int, int]], list[dict[str, Any]]]:
    from nearfar.llm import LocalChatModel

    model = LocalChatModel(model=given.model, max_tokens=300)
    count = given.count or (QUICK if given.quick else FULL)
    counts: dict[str, tuple[int, int]] = {}
    wrong: list[dict[str, Any]] = []
    work = {name: (list(make(f"{given.seed}/{name}", int(count * more))), ask)
            for name, (make, ask, more) in ABILITIES.items()
            if not given.only or name in given.only}  # fmt: skip
    if given.questions:
        work["questions"] = (read_questions(given.questions), _question)
    for name, (items, ask) in work.items():
        began = time.perf_counter()
        answers = await _ask_all(model, items, ask, given.at_once)
        for one in answers:
            for row, good in one.verdict.items():
                right, seen = counts.get(row, (0, 0))
                counts[row] = (right + good, seen + 1)
            if not all(good for row, good in one.verdict.items() if "alarm" not in row):
                wrong.append({"ability": name, "messages": one.item.messages, "said": one.said,
                              "right": one.item.check, "verdict": one.verdict})  # fmt: skip
        print(f"{name}: {len(items)} in {time.perf_counter() - began:.0f} s", flush=True)
    return counts, wrong


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="builtin", help="builtin, or a model's folder")
    parser.add_argument("--seed", default="evaluation")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} examples in place of {FULL}")
    parser.add_argument("--count", type=int, help="examples for each ability")
    parser.add_argument("--only", nargs="*", choices=list(ABILITIES), help="only these abilities")
    parser.add_argument("--questions", type=Path, help="questions written by hand (JSON lines)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--wrong", type=Path, help="where to write what went wrong (JSON lines)")
    parser.add_argument("--no-speed", action="store_true")
    parser.add_argument("--at-once", type=int, default=8)
    given = parser.parse_args()
    from nearfar.llm.local.catalog import find_model

    info = find_model(given.model)
    facts: dict[str, Any] = {
        "model": info.name,
        "seed": given.seed,
        "size_mb": info.size_bytes / 1e6,
    }
    counts, wrong = asyncio.run(evaluate(given))
    if not given.no_speed:
        facts["speed"] = measure_speed(given.model)
    text = table(counts, facts)
    print(text)
    if given.markdown:
        given.markdown.write_text(text, encoding="utf-8")
    if given.json:
        rows = {
            row: {
                "right": right,
                "count": count,
                "share": right / count,
                "interval": wilson(right, count),
            }
            for row, (right, count) in counts.items()
        }
        given.json.write_text(
            json.dumps({**facts, "rows": rows}, indent=1) + "\n", encoding="utf-8"
        )
    if given.wrong:
        lines = (json.dumps(entry, ensure_ascii=False, default=str) for entry in wrong)
        given.wrong.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
