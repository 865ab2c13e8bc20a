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
    │       ├── BrokenReplyError              NF-231  1     the reply is not whole
    │       └── RequestTooLargeError          NF-232  1     more bytes than the server reads
    ├── RouterError                           NF-240  1
    │   ├── NoCandidateError                  NF-241  1     every candidate was passed over
    │   ├── AllCandidatesFailedError          NF-242  1     each one that was asked failed
    │   ├── DeadlineExceededError             NF-243  1     the request's time is up
    │   ├── RouterBusyError                   NF-244  1     too many requests wait already
    │   ├── ContentBlockedError               NF-250  1     the rules for unsafe content say no
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
    │   ├── LockedError                       NF-404  1     another program holds the lock
    │   └── CheckpointDataError               NF-406  1     a row of a checkpoint cannot be read
    │       ├── CheckpointTypeError           NF-407  1     a class that it may not hold
    │       └── EncryptionError               NF-408  1     a row that does not fit the key
    ├── WorkflowError                         NF-500  1
    │   ├── WorkflowNotFoundError             NF-501  2
    │   ├── WorkflowInputError                NF-502  2
    │   ├── WorkflowFailedError               NF-503  1
    │   ├── RunNotFoundError                  NF-504  2
    │   ├── LeaseLostError                    NF-505  1     another writer has the thread
    │   ├── RunConflictError                  NF-506  2     same key, other body
    │   ├── RunStateError                     NF-507  2     not in its present state
    │   ├── ThreadBusyError                   NF-508  1     another run of the thread comes first
    │   ├── RunCancelledError                 NF-509  1
    │   ├── PoisonedRunError                  NF-511  1     the program died at it again and again
    │   ├── AnswerExpiredError                NF-512  1     nobody answered in time
    │   ├── EffectUnknownError                NF-520  1     done or not: nobody knows
    │   ├── EffectNotDoneError                NF-521  1     an effect that may be tried again
    │   ├── EffectValueError                  NF-522  1     done, but its result cannot be kept
    │   ├── EffectOrderError                  NF-523  1     a step whose calls changed places
    │   ├── FarUnreachableError               NF-524  1     no far model, and the step needs one
    │   ├── AgentLimitError                   NF-550  1     steps, calls, depth, time or money of a run
    │   ├── CrewDefinitionError               NF-580  2
    │   ├── TaskFailedError                   NF-581  1     a crew's task did not come out right
    │   └── DelegationLimitError              NF-582  1
    ├── PromptError                           NF-570  1
    │   ├── PromptNotFoundError               NF-571  2
    │   ├── PromptFileError                   NF-572  2
    │   └── PromptVariableError               NF-573  2
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

from ._errors_base import (
    DOCS_PAGE,
    ConfigurationError,
    InternalError,
    MissingPackageError,
    MissingVariableError,
    NearfarError,
    UnknownKeyError,
    UsageError,
)
from ._errors_documents import (
    DocumentError,
    DocumentNotFoundError,
    DocumentTooLargeError,
    EmbedderMismatchError,
    EmptyDocumentError,
    EncryptedDocumentError,
    IndexDamagedError,
    IndexLockedError,
    IndexNotFoundError,
    MetadataError,
    NoDocumentsError,
    UnreadableDocumentError,
    UnsupportedFormatError,
)
from ._errors_models import (
    AllCandidatesFailedError,
    AuthenticationError,
    BrokenReplyError,
    BudgetExhaustedError,
    ContentBlockedError,
    ContentFilteredError,
    ContextTooLongError,
    ContextWindowError,
    DeadlineExceededError,
    EngineBusyError,
    EngineCrashedError,
    EngineMemoryError,
    EngineTimeoutError,
    GrammarError,
    InvalidParameterError,
    ModelError,
    ModelLoadError,
    ModelNotFoundError,
    NoCandidateError,
    NoProviderError,
    QuotaExhaustedError,
    RateLimitedError,
    RejectedRequestError,
    RequestTooLargeError,
    RouterBusyError,
    RouterError,
    UnknownPriceError,
    UnsupportedInputError,
    UnsupportedSchemaError,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamFaultError,
    UpstreamNotFoundError,
    UpstreamTimeoutError,
)
from ._errors_prompts import (
    CrewDefinitionError,
    DelegationLimitError,
    PromptError,
    PromptFileError,
    PromptNotFoundError,
    PromptVariableError,
    TaskFailedError,
)
from ._errors_storage import (
    CheckpointDataError,
    CheckpointTypeError,
    DatabaseError,
    DiskFullError,
    EncryptionError,
    LockedError,
    SchemaVersionError,
    StorageError,
)
from ._errors_tools import (
    ApiDescriptionError,
    ApprovalRequiredError,
    FetchError,
    ToolDeniedError,
    ToolError,
    ToolFailedError,
    ToolLimitError,
    ToolNotFoundError,
    ToolRefusedError,
    ToolTimeoutError,
    UrlRefusedError,
)
from ._errors_workflows import (
    AgentLimitError,
    AnswerExpiredError,
    EffectNotDoneError,
    EffectOrderError,
    EffectUnknownError,
    EffectValueError,
    FarUnreachableError,
    LeaseLostError,
    PoisonedRunError,
    RunCancelledError,
    RunConflictError,
    RunNotFoundError,
    RunStateError,
    ThreadBusyError,
    WorkflowError,
    WorkflowFailedError,
    WorkflowInputError,
    WorkflowNotFoundError,
)

__all__ = [
    "DOCS_PAGE",
    "AgentLimitError",
    "AllCandidatesFailedError",
    "AnswerExpiredError",
    "ApiDescriptionError",
    "ApprovalRequiredError",
    "AuthenticationError",
    "BrokenReplyError",
    "BudgetExhaustedError",
    "CheckpointDataError",
    "CheckpointTypeError",
    "ConfigurationError",
    "ContentBlockedError",
    "ContentFilteredError",
    "ContextTooLongError",
    "ContextWindowError",
    "CrewDefinitionError",
    "DatabaseError",
    "DeadlineExceededError",
    "DelegationLimitError",
    "DiskFullError",
    "DocumentError",
    "DocumentNotFoundError",
    "DocumentTooLargeError",
    "EffectNotDoneError",
    "EffectOrderError",
    "EffectUnknownError",
    "EffectValueError",
    "EmbedderMismatchError",
    "EmptyDocumentError",
    "EncryptedDocumentError",
    "EncryptionError",
    "EngineBusyError",
    "EngineCrashedError",
    "EngineMemoryError",
    "EngineTimeoutError",
    "FarUnreachableError",
    "FetchError",
    "GrammarError",
    "IndexDamagedError",
    "IndexLockedError",
    "IndexNotFoundError",
    "InternalError",
    "InvalidParameterError",
    "LeaseLostError",
    "LockedError",
    "MetadataError",
    "MissingPackageError",
    "MissingVariableError",
    "ModelError",
    "ModelLoadError",
    "ModelNotFoundError",
    "NearfarError",
    "NoCandidateError",
    "NoDocumentsError",
    "NoProviderError",
    "PoisonedRunError",
    "PromptError",
    "PromptFileError",
    "PromptNotFoundError",
    "PromptVariableError",
    "QuotaExhaustedError",
    "RateLimitedError",
    "RejectedRequestError",
    "RequestTooLargeError",
    "RouterBusyError",
    "RouterError",
    "RunCancelledError",
    "RunConflictError",
    "RunNotFoundError",
    "RunStateError",
    "SchemaVersionError",
    "StorageError",
    "TaskFailedError",
    "ThreadBusyError",
    "ToolDeniedError",
    "ToolError",
    "ToolFailedError",
    "ToolLimitError",
    "ToolNotFoundError",
    "ToolRefusedError",
    "ToolTimeoutError",
    "UnknownKeyError",
    "UnknownPriceError",
    "UnreadableDocumentError",
    "UnsupportedFormatError",
    "UnsupportedInputError",
    "UnsupportedSchemaError",
    "UpstreamConnectionError",
    "UpstreamError",
    "UpstreamFaultError",
    "UpstreamNotFoundError",
    "UpstreamTimeoutError",
    "UrlRefusedError",
    "UsageError",
    "WorkflowError",
    "WorkflowFailedError",
    "WorkflowInputError",
    "WorkflowNotFoundError",
]
