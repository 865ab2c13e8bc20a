"""The section about where runs and their states are kept."""

from typing import Annotated

from pydantic import Field, SecretStr, model_validator

from ._settings_places import FilePath, StorageUrl
from ._settings_section import Section


class EncryptionSettings(Section):
    """Encryption of the states of threads in the database (AES-256-GCM); one of the keys, or none."""

    key: SecretStr | None = None
    """32 random bytes in base64 or hex; better as `${VARIABLE}` than in the file."""
    key_file: FilePath | None = None
    """A file that holds the key in base64 or hex."""
    keyring: Annotated[str, Field(min_length=1)] | None = None
    """The entry of the system's keyring, under the service `nearfar`, that holds the key."""

    @model_validator(mode="after")
    def _one_source(self) -> "EncryptionSettings":
        if sum(value is not None for value in (self.key, self.key_file, self.keyring)) > 1:
            raise ValueError("takes one of key, key_file and keyring")
        return self


class RetentionSettings(Section):
    """What is kept of a thread's history; what it needs to go on is always kept."""

    checkpoints: Annotated[int, Field(ge=0)] = 1000
    """Checkpoints that a thread keeps, the newest; 0 keeps all."""
    days: Annotated[float, Field(gt=0)] | None = None
    """Checkpoints older than that go; unset: none for its age."""
    thread_mb: Annotated[float, Field(gt=0)] | None = None
    """Size, in MiB, above which a thread loses its oldest checkpoints; unset: none for its size."""


class StorageSettings(Section):
    """Where runs, ledgers and journals are kept."""

    url: StorageUrl | None = None
    """`sqlite:///path/to/file.db`; unset: nearfar.db under the home folder."""
    power_safe: bool = False
    """Whether each step survives a power cut, not only a crash of the program. Runs and effects always do."""
    types: list[Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]] = Field(
        default=[]
    )
    """Classes of your own that the states of threads may hold: `package.module:Class`."""
    encryption: EncryptionSettings = EncryptionSettings()
    """Whether the states of threads are encrypted in the database."""
    retention: RetentionSettings = RetentionSettings()
    """What is kept of the history of a thread."""
