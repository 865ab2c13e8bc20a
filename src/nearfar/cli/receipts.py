"""``nearfar receipts``: what routers decided, and the same decisions once more."""

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nearfar.errors import UsageError

from .context import settings as current_settings
from .output import emit_json
from .route import explain

if TYPE_CHECKING:
    from nearfar.llm.router.receipts import Kept, Receipts

app = typer.Typer(add_completion=False, no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
IdArgument = Annotated[str, typer.Argument(help="The receipt's id, or how it begins.")]


@app.command("list")
def show_all(
    *,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    router: Annotated[str | None, typer.Option(help="Only this router's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the newest receipts."""
    kept = _store().latest(limit, router=router)
    if as_json:
        emit_json({"receipts": [_line(one) for one in kept]})
        return
    if not kept:
        sys.stdout.write("There are no receipts yet.\n")
    for one in kept:
        line = _line(one)
        cost = "unknown" if line["cost_usd"] is None else f"{line['cost_usd']:.6f} USD"
        who = line["answered_by"] or "nobody"
        sys.stdout.write(
            f"{line['id']}  {line['at']}  {line['router']}  {who}  {cost}  {line['elapsed_s']} s\n"
        )


@app.command()
def show(receipt_id: IdArgument, *, as_json: JsonOption = False) -> None:
    """Show one receipt: who was considered, and why."""
    found = _find(receipt_id)
    if as_json:
        emit_json({"at": _time(found.at), "receipt": found.receipt})
    else:
        explain(found.receipt)


@app.command()
def replay(
    receipt_id: IdArgument,
    *,
    policy: Annotated[
        str | None, typer.Option(help="What another policy would have chosen.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a receipt's decision again, from its inputs, by the router's policy as it is now."""
    from nearfar.llm.router.finding import find_policy, policy_of
    from nearfar.llm.router.replay import order_in
    from nearfar.llm.router.replay import replay as choose_again

    found = _find(receipt_id).receipt
    settings = current_settings()
    own = settings.routers.get(found["router"])
    form = policy or (own.policy if own else found["policy"])
    chosen = policy_of(form, settings) if not isinstance(form, str) else find_policy(form)
    choice = choose_again(found, chosen)
    then, same = order_in(found), choice.is_that_of(found)
    if as_json:
        emit_json(
            {
                "order": list(choice.order),
                "passed_over": dict(choice.passed_over),
                "first": choice.first,
                "order_then": list(then),
                "same": same,
            }
        )
        return
    said = "as then" if same else f"then: {', '.join(then) or 'nobody'}"
    sys.stdout.write(f"{', '.join(choice.order) or 'nobody'} ({said})\n")
    for name, reason in choice.passed_over.items():
        sys.stdout.write(f"{name}: {reason}\n")


def _store() -> "Receipts":
    from nearfar.llm.router.receipts import Receipts

    found = Receipts.open(current_settings())
    if found is None:
        raise UsageError("The settings keep no receipts.", remedy="Set receipts.keep above 0.")
    return found


def _find(beginning: str) -> "Kept":
    found = _store().find(beginning)
    if found is None:
        raise UsageError(
            f"No receipt, or more than one, has an id that begins with {beginning!r}.",
            remedy="`nearfar receipts list` shows the newest.",
            data={"id": beginning},
        )
    return found


def _line(kept: "Kept") -> dict[str, Any]:
    names = ("id", "router", "policy", "answered_by", "local", "cost_usd", "elapsed_s")
    return {"at": _time(kept.at), **{name: kept.receipt.get(name) for name in names}}


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
