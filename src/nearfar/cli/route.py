"""``nearfar route``: one prompt through a router, with its receipt."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .context import settings as current_settings
from .output import console, emit_json, run_async

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage

app = typer.Typer(add_completion=False)


@app.command()
def route(
    prompt: Annotated[str, typer.Argument(help="What to ask; - reads standard input.")],
    *,
    router: Annotated[
        str | None, typer.Option(help="The router; unset: the one called default.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="Another policy than the configured one.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Keep the request on this machine.")
    ] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Print the words as they come.")] = False,
    show_why: Annotated[
        bool, typer.Option("--explain", help="Show who was considered, and why.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Send a prompt through a router."""
    from nearfar.llm import routed

    text = sys.stdin.read() if prompt == "-" else prompt
    model = routed(router, policy=policy, settings=current_settings())
    words = stream and not as_json
    reply = run_async(_ask(model, text, private=private, print_words=words))
    receipt = reply.response_metadata["nearfar"]
    if as_json:
        emit_json({"answer": reply.text, "receipt": receipt})
        return
    sys.stdout.write("\n" if words else f"{reply.text}\n")
    if show_why:
        explain(receipt)


async def _ask(
    model: "BaseChatModel", text: str, *, private: bool, print_words: bool
) -> "AIMessage":
    if not print_words:
        return await model.ainvoke(text, private=private)
    whole = None
    async for chunk in model.astream(text, private=private):
        sys.stdout.write(chunk.text)
        sys.stdout.flush()
        whole = chunk if whole is None else whole + chunk
    if whole is None:  # a router ends every stream with a chunk or an error
        raise RuntimeError("the stream brought nothing")
    return whole


def explain(receipt: dict[str, Any]) -> None:
    """Show a receipt to people."""
    from rich.table import Table

    title = f"Router {receipt['router']}, policy {receipt['policy']}, receipt {receipt['id']}"
    table = Table(title=title)
    for column in ("candidate", "model", "what happened"):
        table.add_column(column)
    for entry in receipt["candidates"]:
        told = entry.get("reason") or f"place {entry['place']}"
        table.add_row(entry["candidate"], entry["model"], told)
    for attempt in receipt["attempts"]:
        took = f"{attempt['ended_s'] - attempt['started_s']:.3f} s"
        told = f"{attempt['outcome']} after {took}"
        if attempt["outcome"] == "failed":
            told += f": {attempt['reason']} ({attempt['code']}, {attempt['verdict']})"
        table.add_row(attempt["candidate"], attempt["model"], told)
    console().print(table)
    if receipt["private"]:
        found = ", ".join(f"{count} {kind}" for kind, count in receipt["found"].items())
        console().print(f"The request is private: {found or 'it is marked so'}.")
