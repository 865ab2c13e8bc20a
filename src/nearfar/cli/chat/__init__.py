"""``nearfar chat``: talk with the assistant in the terminal."""

from typing import Annotated

import typer

from nearfar.cli.context import settings as current_settings
from nearfar.cli.output import run_async

WAITING = 3

app = typer.Typer(add_completion=False)


@app.command()
def chat(
    tools: Annotated[
        str | None,
        typer.Option(
            help="Names of tools, with commas; `none` for none. Unset: what is configured."
        ),
    ] = None,
    *,
    index: Annotated[
        str | None, typer.Option(help="An index made by `nearfar index add`, to answer from.")
    ] = None,
    thread: Annotated[
        str | None, typer.Option(help="Go on with the conversation of this name.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A model or router of the settings; `builtin` is the built-in."),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="Whose memories are used; unset: one for this home folder.")
    ] = None,
) -> None:
    """Talk with the assistant. /help lists the commands; Ctrl-C stops an answer, Ctrl-D leaves.

    Without a terminal each line of standard input is a message. Exit code 3: it waits for a
    person's approval, and the input has ended.
    """
    from .commands import NAMES
    from .lines import lines
    from .loop import converse
    from .screen import Screen
    from .session import Choices

    names = None if tools is None else _names(tools)
    choices = Choices(model=model, tools=names, index=index, user=user)
    waits = run_async(converse(current_settings(), choices, thread, Screen(), lines(NAMES)))
    if waits:
        raise typer.Exit(WAITING)


def _names(text: str) -> list[str]:
    """``none`` is an empty list."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    return [] if names == ["none"] else names
