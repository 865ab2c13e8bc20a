"""API keys: from the settings, the environment, or the keyring of the operating system."""

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from pydantic import SecretStr

from nearfar.errors import ConfigurationError
from nearfar.settings import ModelSettings

if TYPE_CHECKING:
    from types import ModuleType

T = TypeVar("T")

SERVICE = "nearfar"
"""The service under which the keyring has our keys; the user is the name of a model or a provider."""
KEYRING = "keyring"
"""``api_key: keyring`` in the settings."""


def key_of(name: str, settings: ModelSettings, variables: Iterable[str]) -> SecretStr | None:
    """The key of the model called ``name``; None where there is none.

    In this order: the settings, the environment variables, the keyring under the name of the model,
    there under that of its provider. A provider that needs no key (no variables) is not looked up in
    the keyring unless the settings say so. Raises ConfigurationError where they do and it has none.
    """
    said = settings.api_key
    if said is not None and said.get_secret_value() == KEYRING:
        found = from_keyring(name, settings.provider)
        if found is None:
            raise ConfigurationError(
                f"The keyring has no key for the model {name!r} ({settings.provider}).",
                remedy=f"Store it: nearfar config key set {name}",
                data={"key": f"models.{name}.api_key", "names": [name, settings.provider]},
            )
        return found
    if said is not None:
        return said
    names = tuple(variables)
    given = next((os.environ[v] for v in names if os.environ.get(v)), None)
    if given is not None:
        return SecretStr(given)
    return from_keyring(name, settings.provider, quiet=True) if names else None


def from_keyring(*names: str, quiet: bool = False) -> SecretStr | None:
    """The first key that is stored under one of the names.

    Raises ConfigurationError where there is no keyring, or it is locked; with ``quiet`` that is None.
    """

    def look(keyring: "ModuleType") -> SecretStr | None:
        found = next((k for name in names if (k := keyring.get_password(SERVICE, name))), None)
        return SecretStr(found) if found else None

    try:
        return _asked(look)
    except ConfigurationError:
        if quiet:
            return None
        raise


def store(name: str, key: str) -> None:
    """Put a key into the keyring. Raises ConfigurationError."""
    _asked(lambda keyring: keyring.set_password(SERVICE, name, key))


def delete(name: str) -> bool:
    """Take a key out of the keyring; False if there was none. Raises ConfigurationError."""

    def take_out(keyring: "ModuleType") -> bool:
        if keyring.get_password(SERVICE, name) is None:
            return False
        keyring.delete_password(SERVICE, name)
        return True

    return _asked(take_out)


def _asked(ask: "Callable[[ModuleType], T]") -> T:
    """The keyring's answer; its package is loaded now, and its errors say nothing of the key."""
    import keyring
    from keyring.errors import KeyringError, NoKeyringError

    try:
        return ask(keyring)
    except NoKeyringError:
        raise ConfigurationError(
            "This machine has no keyring that can be used.",
            remedy="Put the key into the provider's environment variable instead, or install a keyring "
            "(Linux: Secret Service, such as GNOME Keyring; see the package `keyring`).",
        ) from None
    except KeyringError as error:
        raise ConfigurationError(
            f"The keyring cannot be used: {type(error).__name__}.",
            remedy="Unlock it, or put the key into the provider's environment variable.",
        ) from None
