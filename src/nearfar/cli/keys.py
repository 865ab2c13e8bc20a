"""`nearfar config key set | delete | list`: API keys in the keyring of the operating system."""

import getpass
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from nearfar.errors import UsageError

from .context import settings as current_settings
from .output import emit_json

if TYPE_CHECKING:
    from nearfar.settings import Settings

app = typer.Typer(help="Keep API keys in the keyring.", no_args_is_help=True, add_completion=False)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
NameArgument = Annotated[str, typer.Argument(help="A model of the settings, or a provider.")]
PROVIDERS = ("openai", "anthropic", "google", "ollama", "openai-compatible")


@app.command("set")
def set_key(name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Store a key, which is asked for, or read from standard input; never an argument."""
    from nearfar.llm.keys import store

    _check(name)
    key = _read(name)
    store(name, key)
    if as_json:
        emit_json({"name": name, "stored": True})
    else:
        sys.stdout.write(f"The key of {name} is in the keyring.\n")


@app.command("delete")
def delete_key(name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Take a key out of the keyring."""
    from nearfar.llm.keys import delete

    deleted = delete(name)
    if as_json:
        emit_json({"name": name, "deleted": deleted})
    else:
        said = "is no longer in the keyring" if deleted else "was not in the keyring"
        sys.stdout.write(f"The key of {name} {said}.\n")


@app.command("list")
def list_keys(*, as_json: JsonOption = False) -> None:
    """Show for which models and providers the keyring has a key; never the key."""
    from nearfar.llm.keys import from_keyring

    names = [name for name in _names(current_settings()) if from_keyring(name) is not None]
    if as_json:
        emit_json({"names": names})
    else:
        sys.stdout.write("".join(f"{name}\n" for name in names) or "No keys are stored.\n")


def _names(settings: "Settings") -> list[str]:
    """A keyring can be asked for a name, and does not list what it has."""
    far = [name for name, model in settings.models.items() if model.provider != "local"]
    return [*far, *(p for p in PROVIDERS if p not in far)]


def _check(name: str) -> None:
    known = _names(current_settings())
    if name not in known:
        raise UsageError(
            f"There is no far model and no provider {name!r}.",
            remedy=f"Known here: {', '.join(known)}.",
            data={"name": name, "known": known},
        )


def _read(name: str) -> str:
    if sys.stdin is not None and sys.stdin.isatty():
        key = getpass.getpass(f"Key of {name}: ")
    else:
        key = sys.stdin.readline() if sys.stdin is not None else ""
    key = key.strip()
    if not key:
        raise UsageError("No key was given.", remedy="Type it, or send it to standard input.")
    return key
