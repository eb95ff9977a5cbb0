"""The library's errors as a remote's own. Pure: the library is named, not imported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

from pocketzoo.errors import BadInput, PocketzooError
from zoo.backends.protocol import Moved, RemoteBroken, RemoteDenied, RemoteUnavailable

BY_STATUS = "by status"
NOT_OURS = "not ours"  # of a part of the library that is not used here

# Every exception of huggingface_hub.errors (2.4.0); a test fails when there is one more.
KINDS: Mapping[str, type[PocketzooError] | str] = {
    "OfflineModeIsEnabled": RemoteUnavailable,
    "LocalTokenNotFoundError": RemoteDenied,
    "OIDCError": RemoteDenied,
    "DeviceCodeError": RemoteDenied,
    "HfHubHTTPError": BY_STATUS,
    "BadRequestError": BY_STATUS,
    "RepositoryNotFoundError": RemoteDenied,
    "GatedRepoError": RemoteDenied,
    "DisabledRepoError": RemoteDenied,
    "RevisionNotFoundError": RemoteBroken,
    "RevisionResolutionError": RemoteUnavailable,
    "EntryNotFoundError": RemoteBroken,
    "RemoteEntryNotFoundError": RemoteBroken,
    "LocalEntryNotFoundError": RemoteUnavailable,
    "IncompleteSnapshotError": RemoteUnavailable,
    "FileMetadataError": RemoteBroken,
    "HFValidationError": BadInput,
    "HfUriError": BadInput,
    "XetDownloadError": RemoteUnavailable,
    "FileDuplicationError": RemoteBroken,
    **dict.fromkeys(
        (
            "CacheNotFound", "CorruptedCacheException", "CachedRepoTreeNotFoundError", "DryRunError",
            "InferenceTimeoutError", "InferenceEndpointError", "InferenceEndpointTimeoutError",
            "SafetensorsParsingError", "NotASafetensorsRepoError",
            "TextGenerationError", "ValidationError", "GenerationError", "OverloadedError",
            "IncompleteGenerationError", "UnknownError",
            "BucketNotFoundError", "BucketBatchError", "JobNotFoundError",
            "DDUFError", "DDUFCorruptedFileError", "DDUFExportError", "DDUFInvalidEntryNameError",
            "StrictDataclassError", "StrictDataclassDefinitionError", "StrictDataclassFieldValidationError",
            "StrictDataclassClassValidationError",
            "CLIError", "ConfirmationError", "CLIExtensionInstallError", "SandboxError", "SandboxCommandError",
        ),
        NOT_OURS,
    ),
}  # fmt: skip

_PASSING = (408, 425, 429, 500, 502, 503, 504)
_TOKEN_HINT = "set HF_TOKEN to a token that may, or: hf auth login"  # noqa: S105  no token


class GivenUp(Exception):
    """One of our limits ended a call; the library passes it on, because it knows nothing of it."""

    def __init__(self, status: int, says: str, *, broken: bool = False) -> None:
        super().__init__(says)
        self.status, self.says, self.broken = status, says, broken


class Stumbled(RemoteUnavailable):
    """The Hub did not answer, or with an error that may be gone in a moment, or ``wait_s`` seconds later."""

    wait_s = 0


class Missing(RemoteBroken):
    """The repository is there, and a path in it is not."""


class Absent(RemoteDenied):
    """No such repository, or one that this token does not show: the Hub does not tell which."""


def told(error: BaseException, address: str, token: str | None) -> PocketzooError:
    """An exception of the library, its HTTP client or our limits, as an error to show.

    No text of it holds the token, a request's headers or a signed address.
    """
    if isinstance(error, PocketzooError):
        return error
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        return told(error.__cause__, address, token)  # how an upload in the library fails
    if isinstance(error, GivenUp):
        if error.broken:
            return RemoteBroken(f"the Hub answered with {error.says}", where=address)
        return RemoteUnavailable(f"the Hub answered {error.says}; given up", where=address, hint="try again later")
    for kind in type(error).__mro__:
        if kind.__module__.startswith("huggingface_hub."):
            found = KINDS.get(kind.__name__, NOT_OURS)
            return _of_library(kind.__name__, found, error, address, token)
        if kind.__module__.startswith(("httpx2", "httpcore2")):
            return _of_transport(error, address)
    if isinstance(error, (ValueError, KeyError, TypeError, AttributeError, RecursionError, IndexError)):
        # json, a missing key, a number for a text: the library takes an answer for granted.
        text = clean(str(error), token) if type(error) is ValueError else type(error).__name__
        return RemoteBroken("the Hub answered what is no answer to that", where=address, detail=(text,))
    if isinstance(error, OSError):
        return Stumbled(f"the Hub cannot be reached: {clean(str(error.strerror or error), token)}", where=address)
    return RemoteBroken(f"the Hub's client failed: {type(error).__name__}", where=address)


def clean(text: str, token: str | None) -> str:
    """A server's text fit to be shown: one line, printable, short, without the token, signatures or passwords."""
    if token:
        text = text.replace(token, "***")
    text = re.sub(r"\bhf_[A-Za-z0-9]{8,}", "***", text)
    text = re.sub(r"(https?://)[^\s/@'\"]*@", r"\1", text)
    text = re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]*", r"\1", text)
    text = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(text.split())[:300]


def wait_s(headers: Mapping[str, str]) -> int:
    """The seconds a server asks to wait: ``Retry-After``, or the reset in its ``RateLimit``; 0 where it does not."""
    asked = [headers.get("retry-after", ""), *re.findall(r";t=(\d{1,18})", headers.get("ratelimit", ""))]
    return max((int(text) for text in asked if re.fullmatch(r"\d{1,18}", text.strip())), default=0)


def _of_library(
    name: str, kind: type[PocketzooError] | str, error: BaseException, address: str, token: str | None
) -> PocketzooError:
    message = clean(str(getattr(error, "server_message", None) or ""), token)
    detail = (f"it says: {message}",) if message else ()
    response = getattr(error, "response", None)
    status = int(getattr(response, "status_code", 0))
    if kind == BY_STATUS:
        found = _of_status(status, detail, address, token)
        if isinstance(found, Stumbled):
            found.wait_s = wait_s(getattr(response, "headers", {}))
        return found
    if name == "RepositoryNotFoundError":
        return Absent(
            "no such repository, or it is private and this token does not show it",
            where=address, detail=detail, hint=_TOKEN_HINT,
        )  # fmt: skip
    if name == "GatedRepoError":
        return RemoteDenied(
            "the repository is gated, and this token has no access to its files",
            where=address, detail=detail, hint="ask for access on the repository's page, then set HF_TOKEN",
        )  # fmt: skip
    if name == "DisabledRepoError":
        return RemoteDenied("the repository was disabled by its owner", where=address, detail=detail)
    if name == "OfflineModeIsEnabled":
        return RemoteUnavailable(
            "HF_HUB_OFFLINE is set, so the Hub is not asked", where=address, hint="unset HF_HUB_OFFLINE"
        )
    if isinstance(kind, str):
        return RemoteBroken(f"the Hub's client failed: {name}", where=address, detail=detail)
    if kind is RemoteDenied:
        return RemoteDenied(f"no token: {clean(str(error), token)}", where=address, hint=_TOKEN_HINT)
    if kind is RemoteBroken:
        kept = Missing if "EntryNotFound" in name else RemoteBroken
        return kept(f"the Hub lacks what was asked for ({name})", where=address, detail=detail)
    return kind(f"the Hub's client says: {clean(str(error), token)}", where=address)


def _of_status(status: int, detail: tuple[str, ...], address: str, token: str | None) -> PocketzooError:
    said = f"HTTP {status} {HTTPStatus(status).phrase}" if status in HTTPStatus._value2member_map_ else f"HTTP {status}"
    if status == 401:
        what = "the Hub does not know this token" if token else "the Hub wants a token, and none was sent"
        return RemoteDenied(what, where=address, detail=detail, hint=_TOKEN_HINT)
    if status in (402, 403):
        return RemoteDenied(f"the Hub refuses ({said})", where=address, detail=detail, hint=_TOKEN_HINT)
    if status == 412:
        return Moved("somebody else published there meanwhile", where=address, detail=detail)
    if status in _PASSING or status >= 500:
        return Stumbled(f"the Hub answers {said}", where=address, detail=detail, hint="try again later")
    return RemoteBroken(f"the Hub refuses the request ({said})", where=address, detail=detail)


def _of_transport(error: BaseException, address: str) -> PocketzooError:
    name = type(error).__name__
    if name in ("TooManyRedirects", "DecodingError", "UnsupportedProtocol", "LocalProtocolError", "InvalidURL"):
        return RemoteBroken(f"the Hub answered what cannot be followed ({name})", where=address)
    if name in ("ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout"):
        return Stumbled("the Hub does not answer in time", where=address)
    if name in ("ReadError", "RemoteProtocolError", "WriteError", "CloseError"):
        return Stumbled("the Hub broke off", where=address)
    return Stumbled(f"the Hub cannot be reached ({name})", where=address, hint="check the network, or HF_ENDPOINT")
