"""What can go wrong, and what to do about it.

Every error that Nearfar raises on purpose is a ``NearfarError``. It carries a stable ``code``, the
``message`` (what happened and why), the ``remedy`` (what to do next) and ``data`` (values for
programs: sizes, names, paths; never a secret and never the user's text).

    NearfarError                              code    exit
    ├── InternalError                         NF-001  1     a defect of ours
    ├── UsageError                            NF-002  2     the command's own arguments
    ├── ConfigurationError                    NF-101  2     nearfar.yaml or the environment
    │   ├── UnknownKeyError                   NF-102  2
    │   ├── MissingVariableError              NF-103  2
    │   └── MissingPackageError               NF-104  2
    ├── ModelError                            NF-200  1
    │   ├── ModelNotFoundError                NF-201  2
    │   ├── ModelLoadError                    NF-202  1
    │   ├── NoProviderError                   NF-203  1     no execution provider could run it
    │   ├── ContextWindowError                NF-204  1     the prompt does not fit
    │   ├── UnsupportedSchemaError            NF-205  2     a schema the decoder cannot force
    │   ├── GrammarError                      NF-206  1
    │   ├── EngineBusyError                   NF-207  1     the queue is full
    │   ├── EngineCrashedError                NF-208  1     the worker process died
    │   ├── EngineTimeoutError                NF-209  1     the worker process hung
    │   ├── EngineMemoryError                 NF-210  1     the worker process ran out of memory
    │   ├── UnsupportedInputError             NF-211  2     content the model cannot take
    │   ├── InvalidParameterError             NF-212  2     a sampling parameter out of range
    │   └── UpstreamError                     NF-220  1     a model server elsewhere
    │       ├── UpstreamConnectionError       NF-221  1     refused, reset, name, TLS
    │       ├── UpstreamTimeoutError          NF-222  1     silence
    │       ├── RateLimitedError              NF-223  1     too many requests for now
    │       ├── QuotaExhaustedError           NF-224  1     the account has no credit
    │       ├── AuthenticationError           NF-225  2     the key was not accepted
    │       ├── UpstreamNotFoundError         NF-226  2     no such model or path there
    │       ├── RejectedRequestError          NF-227  1     the request itself is wrong
    │       ├── ContextTooLongError           NF-228  1     the prompt does not fit there
    │       ├── ContentFilteredError          NF-229  1     refused by the provider's filter
    │       ├── UpstreamFaultError            NF-230  1     the server failed or is overloaded
    │       └── BrokenReplyError              NF-231  1     the reply is not whole
    ├── RouterError                           NF-240  1
    │   ├── NoCandidateError                  NF-241  1     every candidate was passed over
    │   ├── AllCandidatesFailedError          NF-242  1     each one that was asked failed
    │   ├── DeadlineExceededError             NF-243  1     the request's time is up
    │   ├── BudgetExhaustedError              NF-260  4     the budget does not allow the call
    │   └── UnknownPriceError                 NF-261  2     a budget applies, and no price is known
    ├── DocumentError                         NF-300  1
    │   ├── DocumentNotFoundError             NF-301  2
    │   ├── NoDocumentsError                  NF-302  2     a folder without readable files
    │   ├── UnreadableDocumentError           NF-303  1
    │   ├── EncryptedDocumentError            NF-304  1
    │   ├── EmptyDocumentError                NF-305  1
    │   ├── DocumentTooLargeError             NF-306  1
    │   ├── UnsupportedFormatError            NF-307  1
    │   ├── IndexNotFoundError                NF-310  2
    │   ├── IndexLockedError                  NF-311  1     another program writes to it
    │   ├── IndexDamagedError                 NF-312  1
    │   ├── EmbedderMismatchError             NF-313  2     made by another embedding model
    │   └── MetadataError                     NF-314  2     metadata or a filter that cannot be used
    ├── StorageError                          NF-400  1
    │   ├── DiskFullError                     NF-401  1
    │   ├── DatabaseError                     NF-402  1
    │   ├── SchemaVersionError                NF-403  1     written by a newer Nearfar
    │   └── LockedError                       NF-404  1     another program holds the lock
    ├── WorkflowError                         NF-500  1
    │   ├── WorkflowNotFoundError             NF-501  2
    │   ├── WorkflowInputError                NF-502  2
    │   └── WorkflowFailedError               NF-503  1
    └── ToolError                             NF-600  1
        ├── ToolNotFoundError                 NF-601  2
        ├── ToolDeniedError                   NF-602  1     the permissions say no, or a person did
        ├── ApprovalRequiredError             NF-603  3     a person must decide
        ├── ToolTimeoutError                  NF-604  1
        ├── ToolLimitError                    NF-605  1     too large, too long, too many
        ├── ToolRefusedError                  NF-606  1     outside of what the tool may touch
        ├── ToolFailedError                   NF-607  1
        ├── UrlRefusedError                   NF-620  1     an address that must not be fetched
        ├── FetchError                        NF-621  1     a server that did not answer well
        └── ApiDescriptionError               NF-622  2     an OpenAPI file that cannot be used

The exit codes are those of the command line: 1 failed, 2 usage or configuration, 3 waiting for a
person, 4 budget exhausted.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from langchain_core.messages import AIMessageChunk

DOCS_PAGE = "docs/troubleshooting.md"


class NearfarError(Exception):
    """The root. ``str(error)`` is the message alone; the command line adds code and remedy."""

    code: ClassVar[str] = "NF-000"
    exit_code: ClassVar[int] = 1
    default_remedy: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        remedy: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = self.default_remedy if remedy is None else remedy
        self.data: dict[str, Any] = dict(data or {})

    @property
    def docs(self) -> str:
        """Where the documentation speaks about this code."""
        return f"{DOCS_PAGE}#{self.code.lower()}"

    def to_dict(self) -> dict[str, Any]:
        """The object that ``--json`` prints under ``error``; all values are JSON."""
        return {
            "code": self.code,
            "message": self.message,
            "remedy": self.remedy,
            "data": self.data,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.remedy, self.data))


def _rebuild(
    kind: type[NearfarError], message: str, remedy: str, data: dict[str, Any]
) -> NearfarError:
    return kind(message, remedy=remedy, data=data)


class InternalError(NearfarError):
    """A defect of Nearfar: something happened that no other error describes."""

    code = "NF-001"
    default_remedy = "Set NEARFAR_DEBUG=1 to see the traceback, and report it with what you ran."


class UsageError(NearfarError):
    """A command was given arguments that do not go together."""

    code = "NF-002"
    exit_code = 2
    default_remedy = "See the command's --help."


class ConfigurationError(NearfarError):
    """nearfar.yaml or an environment variable holds something that cannot be used."""

    code = "NF-101"
    exit_code = 2
    default_remedy = "Mend the named place; `nearfar config check` says whether all is well."


class UnknownKeyError(ConfigurationError):
    """A key that no setting has; data: ``key``, ``nearest``."""

    code = "NF-102"


class MissingVariableError(ConfigurationError):
    """``${NAME}`` without a default names a variable that is not set; data: ``variable``."""

    code = "NF-103"
    default_remedy = "Set the variable, or give a default: ${NAME:default}."


class MissingPackageError(ConfigurationError):
    """Something was asked for that an optional package does; data: ``package``."""

    code = "NF-104"


class ModelError(NearfarError):
    """Something about a model.

    ``partial`` holds what had come of a reply that was streamed; it is the user's content, and
    therefore not in ``data``.
    """

    code = "NF-200"

    partial: "AIMessageChunk | None" = None


class ModelNotFoundError(ModelError):
    """No such model name or folder; data: ``name``, ``known``."""

    code = "NF-201"
    exit_code = 2
    default_remedy = "`nearfar models list` shows the models that are known."


class ModelLoadError(ModelError):
    """The folder is there, but no model could be made of it; data: ``folder``."""

    code = "NF-202"
    default_remedy = (
        "Copy or convert the model again; docs/guides/local-models.md says what it needs."
    )


class NoProviderError(ModelError):
    """Every execution provider of the chain failed; data: ``passed_over``."""

    code = "NF-203"
    default_remedy = "`nearfar doctor` tries each provider and says what each one lacks."


class ContextWindowError(ModelError):
    """The prompt does not fit; data: ``prompt_tokens``, ``window``."""

    code = "NF-204"
    default_remedy = (
        "Shorten the prompt, ask for fewer tokens, or use a model with a larger window."
    )


class UnsupportedSchemaError(ModelError):
    """A JSON schema holds what the decoder cannot force; data: ``keyword``, ``pointer``."""

    code = "NF-205"
    exit_code = 2
    default_remedy = "Take the named keyword out of the schema, or check it after the answer."


class GrammarError(ModelError):
    """The decoder did not accept a grammar."""

    code = "NF-206"


class EngineBusyError(ModelError):
    """More requests wait than the queue may hold; data: ``queued``, ``limit``."""

    code = "NF-207"
    default_remedy = "Try again later, or raise local.queue_limit."


class EngineCrashedError(ModelError):
    """The model's worker process died; the next request starts another. data: ``exit_code``."""

    code = "NF-208"
    default_remedy = (
        "Try again: the worker has been restarted. `nearfar doctor` finds lasting causes."
    )


class EngineTimeoutError(ModelError):
    """The worker process made no progress within its limit and was stopped; data: ``limit_s``."""

    code = "NF-209"
    default_remedy = "Try again, or raise local.hang_s for a slow machine."


class EngineMemoryError(ModelError):
    """The worker process ran out of memory; data: ``limit_mb`` where one was set."""

    code = "NF-210"
    default_remedy = (
        "Close other programs, lower local.cache_mb or local.max_active, or use a smaller model."
    )


class UnsupportedInputError(ModelError):
    """A message holds content that this model cannot take (an image, a sound); data: ``type``."""

    code = "NF-211"
    exit_code = 2
    default_remedy = "Send text, or choose a model whose profile takes this kind of input."


class InvalidParameterError(ModelError):
    """A sampling parameter is out of its range; data: ``parameter``, ``value``."""

    code = "NF-212"
    exit_code = 2
    default_remedy = "Use a value within the range that the message names."


class UpstreamError(ModelError):
    """A model server elsewhere did not answer as it should.

    Data: ``provider``, ``model``, ``fault`` (which kind, in one word), and where they are known
    ``status``, ``request_id`` and ``retry_after_s``.
    """

    code = "NF-220"

    @property
    def fault(self) -> str:
        """Which kind of fault, in one word."""
        return str(self.data.get("fault", ""))

    @property
    def retry_after_s(self) -> float | None:
        """The least time, in seconds, after which the server wants to be asked again."""
        value = self.data.get("retry_after_s")
        return None if value is None else float(value)


class UpstreamConnectionError(UpstreamError):
    """No connection, or it broke before a reply; fault: refused, reset, dns, tls, connect."""

    code = "NF-221"
    default_remedy = "Check the network, base_url and any proxy."


class UpstreamTimeoutError(UpstreamError):
    """Silence past a limit; fault: connect_timeout, silence, first_token, stall."""

    code = "NF-222"
    default_remedy = "Try again, or allow more time."


class RateLimitedError(UpstreamError):
    """Too many requests for now (429)."""

    code = "NF-223"
    default_remedy = "Wait for the time that the server named, or spread requests over more models."


class QuotaExhaustedError(UpstreamError):
    """The account's quota or credit is used up (402, or a 429 that says so)."""

    code = "NF-224"
    default_remedy = "Check the plan and billing of the account that the key belongs to."


class AuthenticationError(UpstreamError):
    """The key is missing, wrong, or may not use this model (401, 403)."""

    code = "NF-225"
    exit_code = 2
    default_remedy = "Set the model's api_key, or the provider's usual environment variable."


class UpstreamNotFoundError(UpstreamError):
    """The server knows no such model or path (404)."""

    code = "NF-226"
    exit_code = 2
    default_remedy = "Check `model` and `base_url`."


class RejectedRequestError(UpstreamError):
    """The server says that the request is wrong (400, 422): sending it again cannot help."""

    code = "NF-227"
    default_remedy = "The message says what the server did not accept."


class ContextTooLongError(UpstreamError):
    """The server says that the prompt does not fit its model."""

    code = "NF-228"
    default_remedy = "Shorten the prompt, or use a model with a larger window."


class ContentFilteredError(UpstreamError):
    """The provider's content filter stopped the request or the reply; data: ``reason``."""

    code = "NF-229"
    default_remedy = "Rephrase the request."


class UpstreamFaultError(UpstreamError):
    """The server failed (500, 502) or is overloaded (503, 529)."""

    code = "NF-230"
    default_remedy = "Try again later."


class BrokenReplyError(UpstreamError):
    """A reply came, but not whole; fault: empty, malformed, no_end, cut, tool_call."""

    code = "NF-231"
    default_remedy = "Try again; what had come is on the error as `partial`."


class RouterError(NearfarError):
    """A router could not answer; data: ``receipt`` says who was considered and what each did.

    ``partial`` holds what the caller already has of the answer; it is the user's content, and
    therefore not in ``data``.
    """

    code = "NF-240"

    partial: "AIMessageChunk | None" = None


class NoCandidateError(RouterError):
    """No candidate may or can take the request, before any was asked."""

    code = "NF-241"
    default_remedy = "The receipt says why each one was passed over; add a candidate that fits."


class AllCandidatesFailedError(RouterError):
    """Each candidate that was asked failed; ``__cause__`` is the first fault."""

    code = "NF-242"
    default_remedy = "The receipt lists every attempt and its fault."


class DeadlineExceededError(RouterError):
    """The deadline of the whole request passed; data: ``deadline_s``."""

    code = "NF-243"
    default_remedy = "Allow more time (deadline_s), or put quicker candidates first."


class BudgetExhaustedError(RouterError):
    """The budget does not allow the call, and none was made.

    Data: ``budget``, ``period``, ``on_exhausted``, ``limit_usd``, ``spent_usd``, ``needed_usd``. With
    ``on_exhausted`` "ask" a graph can ask a person, allow more, and call again.
    """

    code = "NF-260"
    exit_code = 4
    default_remedy = (
        "Wait for the next period, raise limit_usd, or allow more for this one with "
        "`nearfar costs allow`; `nearfar costs budget` shows what was spent."
    )


class UnknownPriceError(RouterError):
    """A budget applies, and nobody knows what the model costs; data: ``model``, ``provider``."""

    code = "NF-261"
    exit_code = 2
    default_remedy = "Give the model a price: {input, output} in its settings; 0 if it is free."


class DocumentError(NearfarError):
    """Something about documents or an index."""

    code = "NF-300"


class DocumentNotFoundError(DocumentError):
    """A file or folder is not there; data: ``path``."""

    code = "NF-301"
    exit_code = 2
    default_remedy = "Check the path."


class NoDocumentsError(DocumentError):
    """Nothing readable was found; data: ``paths``."""

    code = "NF-302"
    exit_code = 2
    default_remedy = "Name a file or folder with .pdf, .docx, .html, .md, .txt or source files."


class UnreadableDocumentError(DocumentError):
    """A file is damaged, or is not what its name says; data: ``path``."""

    code = "NF-303"
    default_remedy = "Open the file in its own program and save it again, or leave it out."


class EncryptedDocumentError(DocumentError):
    """A file asks for a password; data: ``path``."""

    code = "NF-304"
    default_remedy = "Save a copy without a password."


class EmptyDocumentError(DocumentError):
    """A file holds no text; data: ``path``."""

    code = "NF-305"
    default_remedy = (
        "A scanned document needs text recognition first; an empty file can be left out."
    )


class DocumentTooLargeError(DocumentError):
    """A file is over the size limit; data: ``path``, ``bytes``, ``limit_bytes``."""

    code = "NF-306"
    default_remedy = "Split the file, or raise retrieval.max_file_mb."


class UnsupportedFormatError(DocumentError):
    """A file's kind cannot be read; data: ``path``."""

    code = "NF-307"
    default_remedy = "Convert it to PDF, DOCX, HTML, Markdown or text."


class IndexNotFoundError(DocumentError):
    """No index of that name; data: ``name``, ``known``."""

    code = "NF-310"
    exit_code = 2
    default_remedy = (
        "`nearfar index list` shows them; `nearfar index add PATH --name NAME` makes one."
    )


class IndexLockedError(DocumentError):
    """Another program is writing to the index; data: ``path``."""

    code = "NF-311"
    default_remedy = "Wait until the other program is done."


class IndexDamagedError(DocumentError):
    """A file of the index is missing or its checksum is wrong; data: ``path``."""

    code = "NF-312"
    default_remedy = "Remove the index and add its documents again."


class EmbedderMismatchError(DocumentError):
    """The index was made by another embedding model; data: ``expected``, ``found``."""

    code = "NF-313"
    exit_code = 2
    default_remedy = "Use the embedding model that made the index, or make the index anew."


class MetadataError(DocumentError):
    """Metadata that is not JSON, or a filter that cannot be understood; data: ``pointer``."""

    code = "NF-314"
    exit_code = 2


class StorageError(NearfarError):
    """Something about files or databases under the home folder."""

    code = "NF-400"


class DiskFullError(StorageError):
    """No space is left; what was there before is unchanged. data: ``path``."""

    code = "NF-401"
    default_remedy = "Free some space, or move NEARFAR_HOME to a larger disk."


class DatabaseError(StorageError):
    """The database could not be opened or written; data: ``path``."""

    code = "NF-402"


class SchemaVersionError(StorageError):
    """The database was written by a newer Nearfar; data: ``found``, ``known``."""

    code = "NF-403"
    default_remedy = "Use the newer Nearfar, or another NEARFAR_HOME."


class LockedError(StorageError):
    """Another program holds the lock; data: ``path``."""

    code = "NF-404"
    default_remedy = "Wait until the other program is done."


class WorkflowError(NearfarError):
    """Something about a workflow."""

    code = "NF-500"


class WorkflowNotFoundError(WorkflowError):
    """No workflow of that name, file or module; data: ``name``, ``known``."""

    code = "NF-501"
    exit_code = 2


class WorkflowInputError(WorkflowError):
    """The input does not fit the workflow's schema; data: ``fields``."""

    code = "NF-502"
    exit_code = 2
    default_remedy = "`nearfar run WORKFLOW --help` shows its fields."


class WorkflowFailedError(WorkflowError):
    """A step of the workflow raised; data: ``workflow``, ``step``."""

    code = "NF-503"


class ToolError(NearfarError):
    """Something about a tool. Within a run the model is told the message, and the run goes on."""

    code = "NF-600"


class ToolNotFoundError(ToolError):
    """No tool of that name; data: ``name``, ``known``."""

    code = "NF-601"
    exit_code = 2
    default_remedy = "`nearfar tools list` shows the tools."


class ToolDeniedError(ToolError):
    """The permissions forbid the call, or a person rejected it; data: ``tool``."""

    code = "NF-602"
    default_remedy = "Do without this call; `tools.permissions` says what is allowed."


class ApprovalRequiredError(ToolError):
    """A person must approve the call, and nobody could be asked; data: ``tool``, ``description``."""

    code = "NF-603"
    exit_code = 3
    default_remedy = (
        "Call the tool in a graph with a checkpointer, or allow it under tools.permissions."
    )


class ToolTimeoutError(ToolError):
    """The call took longer than it may; data: ``tool``, ``limit_s``."""

    code = "NF-604"
    default_remedy = "Ask for less, or raise the tool's time limit."


class ToolLimitError(ToolError):
    """Arguments, work or results over a limit; data: ``limit`` and what was found."""

    code = "NF-605"
    default_remedy = "Ask for less at a time."


class ToolRefusedError(ToolError):
    """What was asked for lies outside of what the tool may touch or do."""

    code = "NF-606"


class ToolFailedError(ToolError):
    """The tool could not do what it was asked; data: ``tool``."""

    code = "NF-607"


class UrlRefusedError(ToolError):
    """A URL that untrusted requests must not go to; data: ``reason``, ``host``, ``kind``."""

    code = "NF-620"
    default_remedy = (
        "Use a public http or https URL. A private server that is really meant is allowed by naming"
        " its origin."
    )


class FetchError(ToolError):
    """A server could not be reached or did not answer well; data: ``url``, ``reason``, ``status``."""

    code = "NF-621"
    default_remedy = "Check the address, and try again later."


class ApiDescriptionError(ToolError):
    """An OpenAPI file that no tools can be made of; data: ``pointer``."""

    code = "NF-622"
    exit_code = 2
    default_remedy = "Mend the named place in the API's description."
