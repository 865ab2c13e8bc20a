"""Which checks there are, in their order."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from nearfar.errors import NearfarError
from nearfar.settings import Loaded, Settings

from . import assets, indexes, machine, models
from .report import Check, Report
from .runner import Probe, run_probes

_LOADING_LIMIT_S = 600.0  # a large model on a slow disk, and then its window


def diagnose(
    load: Callable[[], Loaded],
    *,
    model: str | None = None,
    on_start: Callable[[str], None] | None = None,
    on_check: Callable[[Check], None] | None = None,
) -> Report:
    """Try everything; ``model`` restricts the models to one. Never raises for what is broken.

    Settings that cannot be loaded are one failed check; the rest is then tried with the defaults.
    """
    settings = Settings()

    def configuration() -> Iterator[Check]:
        nonlocal settings
        loaded = load()
        settings = loaded.settings
        file = loaded.source.file
        detail = str(file) if file else "there is no nearfar.yaml; the defaults hold"
        yield Check("configuration", True, detail)

    first = [
        Probe("platform", machine.check_platform),
        Probe("python", machine.check_python),
        Probe("wheels", machine.check_wheels),
        Probe("configuration", configuration),
    ]
    report = run_probes(first, on_start=on_start, on_check=on_check)
    rest = run_probes(_probes(settings, model), on_start=on_start, on_check=on_check)
    return Report((*report.checks, *rest.checks))


def _probes(settings: Settings, model: str | None) -> list[Probe]:
    chat = [model] if model else _names(models.BUILTIN, settings.models)
    embedders = _names(models.BUILTIN, settings.embeddings)
    return [
        Probe("home", machine.check_home),
        Probe("database", partial(machine.check_database, settings), 120.0),
        Probe("disk", machine.check_disk),
        Probe("memory", machine.check_memory),
        Probe("files", assets.check_assets, 60.0),
        Probe("providers", partial(models.check_providers, settings), _LOADING_LIMIT_S),
        *(
            Probe(f"model {name}", partial(models.check_model, name, settings), _LOADING_LIMIT_S)
            for name in chat
        ),
        *(
            Probe(f"embeddings {name}", partial(models.check_embeddings, name, settings), 120.0)
            for name in embedders
        ),
        *_index_probes(settings),
    ]


def _names(first: str, configured: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([first, *configured]))


def _index_probes(settings: Settings) -> list[Probe]:
    from nearfar.retrieval.index import Index

    try:
        names = Index.names()
    except NearfarError as error:  # the home folder; shown like any other failure
        return [Probe("indexes", partial(_raise, error))]
    return [
        Probe(f"index {name}", partial(indexes.check_index, name, settings), 300.0)
        for name in names
    ]


def _raise(error: Exception) -> Iterator[Check]:
    raise error
