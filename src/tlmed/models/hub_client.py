"""Asking a hub: what a repository holds, and one file of it. The only place that uses the network."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlmed.errors import InputError
from tlmed.recipe.hub_name import HubName
from tlmed.runtime.digests import file_digest
from tlmed.runtime.progress import Progress, track

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

_PUBLIC_HUB = "https://huggingface.co"
_MEGABYTE = 1_000_000
_TRUE = ("1", "ON", "YES", "TRUE")


@dataclass(frozen=True)
class HubFile:
    """A file of a repository.

    Attributes:
        num_bytes: its size, where the hub says it.
        digest: SHA-256, where the hub says it: of large files.
    """

    name: str
    num_bytes: int | None = None
    digest: str | None = None


@dataclass(frozen=True)
class Repository:
    """A repository at one revision.

    Attributes:
        name: as it was asked for.
        commit: the full hash of the revision.
        licence: as its model card names it.
        gated: whether access is given on conditions.
        files: by name.
    """

    name: HubName
    commit: str
    licence: str | None
    gated: bool
    files: dict[str, HubFile]


def describe_repository(name: HubName) -> Repository:
    """Ask the hub for a repository's revision, licence and list of files.

    Raises:
        InputError: no network, no such repository or revision, or no access.
    """
    _prepare(name)
    from huggingface_hub import HfApi

    with _explained(name):
        api = HfApi(endpoint=_endpoint(), library_name="tlmed", library_version=version("tlmed"))
        info = api.model_info(name.id, revision=name.revision, files_metadata=True)
    commit = HubName(name.id, info.sha).commit
    if commit is None:
        raise InputError(f"weights {name}: {_endpoint()} names no commit for it ({info.sha!r}); is this a hub?")
    files = {
        one.rfilename: HubFile(one.rfilename, one.size, one.lfs.sha256 if one.lfs is not None else None)
        for one in info.siblings or ()
    }
    return Repository(name, commit, _licence(info), bool(info.gated), files)


def download(repository: Repository, file: HubFile, folder: Path) -> Path:
    """Download one file of a repository, with progress on stderr, and check it against what the hub says of it.

    Args:
        repository: at the revision that is wanted.
        file: one of its files.
        folder: receives the file and what the hub's client notes beside it; nothing is written anywhere else.

    Raises:
        InputError: no network, no access, the connection broke off for good, or the file arrived damaged.
    """
    _prepare(repository.name)
    from huggingface_hub import hf_hub_download

    with _tracked(file) as progress, _explained(repository.name):
        path = hf_hub_download(
            repository.name.id,
            file.name,
            revision=repository.commit,
            endpoint=_endpoint(),
            local_dir=folder,
            cache_dir=folder,
            tqdm_class=_reporter_to(progress),
            library_name="tlmed",
            library_version=version("tlmed"),
        )
    if file.digest is not None and file_digest(Path(path)) != file.digest:
        raise InputError(f"weights {repository.name}: {file.name} arrived damaged (its SHA-256 differs); try again.")
    return Path(path)


@contextlib.contextmanager
def _tracked(file: HubFile) -> Iterator[Progress | None]:
    """Progress for what takes time."""
    total = (file.num_bytes or 0) // _MEGABYTE
    if total == 0:
        yield None
        return
    with track(f"downloading {file.name}", total=total, unit="MB") as progress:
        yield progress


def _is_offline() -> bool:
    """Whether the user forbids the network, as Hugging Face's own programs understand it."""
    return any(os.environ.get(key, "").upper() in _TRUE for key in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def _prepare(name: HubName) -> None:
    if name.id.count("/") != 1:
        raise InputError(f"weights {name}: a hub has ids of the form owner/name; write hub:OWNER/NAME.")
    if _is_offline():
        raise InputError(_unreachable(name, "HF_HUB_OFFLINE forbids the network"))
    # Read when the client is first imported. Its faster way of downloading keeps notes in the home folder and does not
    # stop on our signals; its messages to the hub would tell what runs here.
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", _PUBLIC_HUB).rstrip("/")


@contextlib.contextmanager
def _explained(name: HubName) -> Iterator[None]:
    """Turn what the hub's client raises into sentences; a full disk and the like go on as they are."""
    from huggingface_hub import errors

    page = f"{_PUBLIC_HUB}/{name.id}"
    try:
        yield
    except errors.GatedRepoError as error:  # before the next, whose special case it is
        raise InputError(
            f"weights {name}: their publisher gives access on conditions; accept them at {page}, "
            "log in with `hf auth login` or set HF_TOKEN, and try again."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"weights {name}: the hub has no such repository, or it is private; look it up at {page}, "
            "and for a private one log in with `hf auth login` or set HF_TOKEN."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(
            f"weights {name}: the repository has no revision {name.revision!r}; see {page}/commits/main."
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        raise InputError(f"weights {name}: the hub answers with HTTP status {status}; try again later.") from error
    except (errors.HTTPError, ConnectionError, errors.LocalEntryNotFoundError) as error:  # type: ignore[attr-defined]
        raise InputError(_unreachable(name, "the hub cannot be reached")) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise InputError(f"weights {name}: the download did not come whole; try again.") from error


def _unreachable(name: HubName, why: str) -> str:
    return (
        f"weights {name}: not in the store, and {why}; on a machine with network run `tlmed weights pack FOLDER {name}`"
        ", bring the folder here and run `tlmed weights import FOLDER`."
    )


def _licence(info: ModelInfo) -> str | None:
    """Return the licence as the model card has it; a licence of the publisher's own goes by its name."""
    licence = getattr(info.card_data, "license", None)
    if isinstance(licence, list):
        licence = ", ".join(map(str, licence))
    if licence in (None, "other"):
        licence = getattr(info.card_data, "license_name", None) or licence
    return str(licence) if licence is not None else None


def _reporter_to(progress: Progress | None) -> type[Any]:
    """Return a class that takes the place of the client's own progress bar."""

    class Reporter:
        def __init__(self, *, initial: int = 0, **_: Any) -> None:
            self._num_bytes = initial

        def update(self, num_bytes: int) -> None:
            before, self._num_bytes = self._num_bytes, self._num_bytes + num_bytes
            if progress is not None:
                progress.advance(self._num_bytes // _MEGABYTE - before // _MEGABYTE)

        def __enter__(self) -> Reporter:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    return Reporter
