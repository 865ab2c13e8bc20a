"""Encryption of what checkpoints hold: AES-256-GCM, one random nonce a row."""

import base64
import binascii
import os
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from nearfar.errors import ConfigurationError, EncryptionError
from nearfar.storage.files import storage_error

from .serde import StrictSerializer

if TYPE_CHECKING:
    from nearfar.settings import EncryptionSettings

NAME = "aes-gcm"
_NONCE = 12  # bytes; what GCM is made for


class AesGcm:
    """A cipher for LangGraph's ``EncryptedSerializer``; its rows begin with their nonce."""

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(key)

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        nonce = os.urandom(_NONCE)
        return NAME, nonce + self._cipher.encrypt(nonce, plaintext, None)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        if ciphername != NAME:
            raise EncryptionError("A row was encrypted in a way that is not known here.")
        try:
            return self._cipher.decrypt(ciphertext[:_NONCE], ciphertext[_NONCE:], None)
        except (InvalidTag, ValueError):
            raise EncryptionError(
                "A row cannot be decrypted: the key is another one, or the row was changed."
            ) from None


class SealedSerializer(EncryptedSerializer):
    """Encrypts all values, and refuses rows that are not encrypted.

    Who can write the database could otherwise put a row of his own beside the sealed ones.
    """

    serde: StrictSerializer

    def __init__(self, key: bytes, serde: StrictSerializer) -> None:
        super().__init__(AesGcm(key), serde)

    def with_types(self, names: Any) -> "SealedSerializer":
        """The same with more classes."""
        sealed = object.__new__(SealedSerializer)
        sealed.cipher, sealed.serde = self.cipher, self.serde.with_msgpack_allowlist(names)
        return sealed

    @property
    def plain(self) -> StrictSerializer:
        """What is inside the seal."""
        return self.serde

    def seal(self, kind: str, content: bytes) -> tuple[str, bytes]:
        """Encrypted, and its kind says so."""
        name, sealed = self.cipher.encrypt(content)
        return f"{kind}+{name}", sealed

    def unseal(self, kind: str, content: bytes) -> tuple[str, bytes]:
        """Raises EncryptionError for what was not encrypted, or with another key."""
        plain, plus, name = kind.partition("+")
        if not plus:
            raise EncryptionError(
                "A row is not encrypted, although storage.encryption says that all are.",
                remedy="Move the database away, or take storage.encryption out to read it.",
            )
        return plain, self.cipher.decrypt(name, content)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        return self.serde.loads_typed(self.unseal(*data))


def encryption_key(settings: "EncryptionSettings") -> bytes | None:
    """The 32 bytes that the settings point to; None when nothing is encrypted.

    Raises ConfigurationError when there is no such key or it is too short.
    """
    if settings.key is not None:
        return _key(settings.key.get_secret_value(), "storage.encryption.key")
    if settings.key_file is not None:
        from pathlib import Path

        path = Path(settings.key_file)
        try:
            text = path.read_text(encoding="ascii")
        except OSError as error:
            raise storage_error(error, path, doing="read") from error
        except UnicodeDecodeError:
            text = ""
        return _key(text, "storage.encryption.key_file")
    if settings.keyring is not None:
        return _key(_from_keyring(settings.keyring), "storage.encryption.keyring")
    return None


def _from_keyring(entry: str) -> str:
    import keyring
    from keyring.errors import KeyringError

    try:
        return keyring.get_password("nearfar", entry) or ""
    except KeyringError as error:
        raise ConfigurationError(
            f"The keyring cannot be asked for {entry!r}: {type(error).__name__}.",
            remedy="Unlock the keyring, or use storage.encryption.key.",
        ) from error


def _key(text: str, where: str) -> bytes:
    """32 bytes in base64 or hex."""
    text = text.strip()
    for decode in (bytes.fromhex, lambda t: base64.b64decode(t, validate=True)):
        try:
            found = decode(text)
        except (ValueError, binascii.Error):
            continue
        if len(found) == 32:
            return found
    raise ConfigurationError(
        f"{where} holds no key: it must be 32 random bytes in base64 or hex.",
        remedy='Make one: python -c "import secrets; print(secrets.token_hex(32))"',
        data={"key": where},
    )
