"""The files and other places that keyrings are read from, and how they are written.

A path may name a file, or be `fd:3`: a descriptor that the parent process left open. A keyring may also
stand in the environment itself, for containers that have no better place.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shlex
import stat
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from safeload._internal.atomic import NewFile, new_file, sync_folder
from safeload._internal.encoding import decode_base64
from safeload._internal.files import OTHERS_USE, NotRegularError, exposure, open_regular, read_to_end
from safeload._internal.secrecy import NOT_SHOWN, looks_secret, require_path
from safeload.errors import KeyringError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "DATA_VARIABLE",
    "ENVIRONMENT_VARIABLE",
    "MAX_KEYRING_BYTES",
    "KeySource",
    "default_keyring_path",
    "default_source",
    "descriptor_of",
    "editable_path",
    "exposed",
    "how_to_make",
    "is_shareable",
    "keyring_file",
    "read_source",
    "write_key_file",
]

ENVIRONMENT_VARIABLE = "SAFELOAD_KEYRING"
DATA_VARIABLE = "SAFELOAD_KEYRING_DATA"
MAX_KEYRING_BYTES = 1 << 20

_DESCRIPTOR = re.compile(r"(?:fd:|/dev/fd/|/proc/self/fd/)([0-9]{1,6})", re.ASCII)  # the shell's <(…) is the second
_CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd: where this service's credentials are
_MOUNT = (
    f"Is the secret mounted here? Mount the keyring, and name its file: --keyring PATH, or {ENVIRONMENT_VARIABLE}=PATH."
)
_SCRATCH = ".keyring-"  # of temporary files, which hold keys


@dataclass(frozen=True, slots=True)
class KeySource:
    """The bytes of a keyring or of a PEM file, and where they come from: `name` is for messages.

    `exposed_mode` is the mode of a file that others can read, which is fine as long as it holds public keys only.
    """

    data: bytes = field(repr=False)
    name: str
    exposed_mode: int | None = None


class _Consumed:
    """What was read from descriptors, which can be read once only: by number, device and inode."""

    contents: Final[dict[tuple[int, int, int], bytes]] = {}
    lock: Final = threading.Lock()


def default_keyring_path() -> str:
    """Return the path of the keyring that is used where none is given.

    Raises:
        KeyringError: `SAFELOAD_KEYRING` is empty or holds key material itself, or there is no config directory.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named is None:
        from platformdirs import user_config_path

        path = user_config_path("safeload", appauthor=False) / "keyring.toml"
        if not path.is_absolute():  # no home folder: a relative path would be looked up in the working directory
            raise KeyringError(
                "there is no default keyring: this user has no config directory",
                advice=f"Set {ENVIRONMENT_VARIABLE} to a keyring's path.",
            )
        return str(path)
    if not named:  # falling back would trust other keys than the ones that were meant
        raise KeyringError(
            f"{ENVIRONMENT_VARIABLE} is set but empty", advice="Unset it, or set it to a keyring's path."
        )
    if looks_secret(named):
        raise KeyringError(
            f"{ENVIRONMENT_VARIABLE} must name a keyring file: {NOT_SHOWN}",
            advice=f"Put the text of a keyring in {DATA_VARIABLE}, or its path in {ENVIRONMENT_VARIABLE}.",
        )
    return named


def default_source(*, signing: bool = False) -> KeySource:
    """Read the keyring that is used where none is given: from the environment, or from the file that it names.

    With `signing`, the error about a missing one says how to make one.

    Raises:
        KeyringError: it cannot be read, or the environment has two.
    """
    text = os.environ.get(DATA_VARIABLE)
    if text is None:
        path = default_keyring_path()
        if not signing and ENVIRONMENT_VARIABLE not in os.environ and not os.path.lexists(path):
            raise KeyringError(
                f"there is no keyring to verify with: neither {ENVIRONMENT_VARIABLE} nor {DATA_VARIABLE} is set, and "
                f"there is no file {path}",
                advice=_MOUNT,
            )
        return read_source(path, signing=signing)
    if ENVIRONMENT_VARIABLE in os.environ:  # which of them was meant?
        raise KeyringError(f"both {ENVIRONMENT_VARIABLE} and {DATA_VARIABLE} are set", advice="Unset one of them.")
    data = os.fsencode(text)
    if len(data) > MAX_KEYRING_BYTES:
        raise KeyringError(f"{DATA_VARIABLE} is not a keyring: it has more than {MAX_KEYRING_BYTES} bytes")
    try:
        # For what cannot pass on more than one line, or breaks it anew; no keyring's text is base64.
        data = decode_base64("".join(text.split()))
    except ValueError:
        pass
    if not data:
        raise KeyringError(f"{DATA_VARIABLE} is set but empty", advice="Unset it, or put the text of a keyring in it.")
    return KeySource(data, f"in {DATA_VARIABLE}")


def descriptor_of(name: str) -> int | None:
    """Return the descriptor that a path such as fd:3 or /dev/fd/3 means, or None for a file's path."""
    match = _DESCRIPTOR.fullmatch(name)
    return None if match is None else int(match[1])


def keyring_file(given: object) -> str | None:
    """Return the absolute path of the file that a keyring is read from, or None where there is no file to read again.

    `given` is what a caller passed as a keyring. The path is made absolute because services change their directory.

    Raises:
        KeyringError: it is None, and there is no default keyring.
    """
    if given is None and DATA_VARIABLE not in os.environ:
        given = default_keyring_path()
    if not isinstance(given, str | os.PathLike):
        return None
    name = os.fsdecode(given)
    require_path(name, KeyringError)
    return None if descriptor_of(name) is not None else os.path.abspath(name)  # noqa: PTH100 - as the link that it is


def editable_path(path: str | None) -> str:
    """Return the path of the keyring that is to be changed: this one, or the default keyring's.

    Raises:
        KeyringError: the default keyring is not a file, or there is none.
    """
    if path is None and DATA_VARIABLE in os.environ:
        raise KeyringError(
            f"cannot change the keyring in {DATA_VARIABLE}: it is not a file",
            advice="Name a keyring's file: --keyring PATH.",
        )
    if path is None:
        return default_keyring_path()
    require_path(path, KeyringError)
    return path


def is_shareable(path: str | None) -> bool:
    """Return whether several processes can read this keyring, or the default one: not if it is an open descriptor."""
    return descriptor_of(path or os.environ.get(ENVIRONMENT_VARIABLE, "")) is None


def read_source(name: str, *, else_pem: bool = False, signing: bool = False) -> KeySource:
    """Read a keyring's file, or the descriptor that fd:N means; `else_pem` says that a key as PEM would do, too.

    With `signing`, the error about a missing keyring says how to make one.

    Raises:
        KeyringError: it cannot be read, is too large, or others could change it.
    """
    require_path(name, KeyringError)
    number = descriptor_of(name)
    if number is not None:
        return _read_descriptor(number, name)
    try:
        fd, status = open_regular(name)  # links are followed, and the file that they lead to is judged
    except FileNotFoundError:
        if else_pem:
            problem, advice = f"there is no key file at {name}", f"Check the path. {how_to_make(None)}"
        else:
            by = f" ({ENVIRONMENT_VARIABLE} names it)" if name == os.environ.get(ENVIRONMENT_VARIABLE) else ""
            problem, advice = f"there is no keyring at {name}{by}", how_to_make(name) if signing else _MOUNT
    except NotRegularError:
        problem, advice = f"{name} is not a keyring: it is not a regular file", "Check the path."
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        problem = f"cannot read keyring {name}: {_reason_of(error)}"
        advice = "Check the path, and the owner and mode of the file and of its folder."
    else:
        try:
            return KeySource(_read_bounded(fd, name), name, _check_owner(status, name))
        finally:
            os.close(fd)
    raise KeyringError(problem, advice=advice)


def _read_descriptor(fd: int, name: str) -> KeySource:
    """Read an open descriptor to its end, once; it stays open, and later reads return the same bytes."""
    try:
        status = os.fstat(fd)
    except OSError as error:
        raise KeyringError(
            f"cannot read keyring {name}: {_reason_of(error)}",
            advice="Open the descriptor for this process, as in: "
            f"safeload verify --keyring {name} model.joblib {fd}<ring.toml",
        ) from None
    if stat.S_ISREG(status.st_mode):  # read by position, so that its own position does not matter
        return KeySource(_read_bounded(fd, name, 0), name, _check_owner(status, name))
    if not (stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode)):
        raise KeyringError(
            f"{name} is not a keyring: the descriptor is neither a file nor a pipe",
            advice="Open a keyring's file as this descriptor.",
        )
    key = (fd, status.st_dev, status.st_ino)
    with _Consumed.lock:
        if key not in _Consumed.contents:
            _Consumed.contents[key] = _read_bounded(fd, name)
        return KeySource(_Consumed.contents[key], name)


def _check_owner(status: os.stat_result, name: str) -> int | None:
    """Refuse a file that others could change; return its mode if they can read it."""
    quoted = shlex.quote(name)
    if _is_mounted_secret(status, name):
        return None
    why = exposure(status)
    if why == "owner":
        raise KeyringError(
            f"cannot trust keyring {name}: it belongs to user {status.st_uid}, who could change it at any time",
            advice=f"If you trust its content, run: chown {os.geteuid()} {quoted} && chmod 600 {quoted}",
        )
    mode = stat.S_IMODE(status.st_mode)
    if why == "mode":
        raise exposed(name, mode)
    return mode if mode & OTHERS_USE else None


def _is_mounted_secret(status: os.stat_result, name: str) -> bool:
    """Return whether this is root's file, mounted for this process, that its group may read and others may not.

    So it is in a Secret volume of Kubernetes with an fsGroup, whose group is one of this process's own, and with
    systemd's credentials, where an access list gives the file to the service, and the group bits are the list's mask.
    The folder must be such that only root and this user can replace the file.
    """
    if os.geteuid() == 0 or status.st_uid != 0 or status.st_mode & 0o037 or descriptor_of(name) is not None:
        return False
    real = os.path.realpath(name)
    folder = os.path.dirname(real)  # noqa: PTH120 - paths may be any string here
    try:
        if not os.path.samestat(status, os.stat(real)) or exposure(os.stat(folder)) is not None:  # noqa: PTH116
            return False
    except OSError:
        return False
    credentials = os.environ.get(_CREDENTIALS)
    return status.st_gid in {os.getegid(), *os.getgroups()} or (
        bool(credentials) and os.path.realpath(credentials or "") == folder
    )


def exposed(name: str, mode: int) -> KeyringError:
    """Return the error about a file that others can use, and must not."""
    if os.path.basename(os.path.dirname(os.path.realpath(name))).startswith(".."):  # noqa: PTH119, PTH120 - a volume's
        return KeyringError(
            f"cannot trust keyring {name}: other users can use it (mode {mode:04o})",
            advice="In the Secret volume of the pod, set defaultMode: 0440, and in its securityContext fsGroup to a "
            "group of the process. For a pod that runs as root: defaultMode: 0400.",
        )
    return KeyringError(
        f"cannot trust keyring {name}: other users can use it (mode {mode:04o})",
        advice=f"Run: chmod 600 {'FILE' if descriptor_of(name) is not None else shlex.quote(name)}. "
        "If others may have read it, make new keys, too.",
    )


def _read_bounded(fd: int, name: str, position: int | None = None) -> bytes:
    """Read to the end: from a position, or from wherever the descriptor stands."""
    try:
        data = read_to_end(fd, MAX_KEYRING_BYTES, start=position)
    except OSError as error:
        raise KeyringError(f"cannot read keyring {name}: {_reason_of(error)}", advice="Check the file.") from None
    if len(data) > MAX_KEYRING_BYTES:
        raise KeyringError(
            f"{name} is not a keyring: it has more than {MAX_KEYRING_BYTES} bytes", advice="Check the path."
        )
    return data


def write_key_file(name: str, data: bytes, *, overwrite: bool, public: bool) -> None:
    """Write a file that holds keys, whole or not at all, with mode 0600, or 0644 if it holds public keys only.

    Raises:
        FileExistsError: the file is there, and `overwrite` is false.
        KeyringError: it cannot be written, or its readers would take the name for a descriptor.
    """
    require_path(name, KeyringError)
    try:
        _write_private(name, data, overwrite=overwrite, mode=0o644 if public else 0o600)
    except FileExistsError:
        raise
    except (OSError, ValueError) as error:
        raise KeyringError(
            f"cannot write {name}: {_reason_of(error)}",
            advice="Check the owner and mode of its folder, or write elsewhere.",
        ) from None


def _write_private(name: str, data: bytes, *, overwrite: bool, mode: int) -> None:
    if descriptor_of(name) is not None:
        raise KeyringError(
            f"cannot write to {name}: it means an open descriptor, which is only read",
            advice=f"For a file of this name, use ./{os.path.basename(name)}",  # noqa: PTH119
        )
    target = os.path.realpath(name)  # a link stays a link
    folder = os.path.dirname(target)  # noqa: PTH120 - paths may be any string here
    if not os.path.isdir(folder):  # noqa: PTH112
        try:
            os.makedirs(folder, mode=0o700)  # noqa: PTH103
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder) from None
    _remove_leftovers(folder)
    with _private_file(folder) as new:
        new.write(data)
        new.settle(mode)
        try:
            new.place(Path(target), overwrite=overwrite)
        except FileExistsError:
            raise FileExistsError(errno.EEXIST, "it is there already, and was left as it was", name) from None
    sync_folder(Path(folder))


@contextmanager
def _private_file(folder: str) -> Iterator[NewFile]:
    """Give a new file that only this user can read; it is locked for as long as its writer lives."""
    while True:
        with new_file(Path(folder, f"{_SCRATCH}{secrets.token_hex(8)}"), 0o600) as new:
            fcntl.flock(new.fd, fcntl.LOCK_EX)
            if os.fstat(new.fd).st_nlink:  # else it was taken for a leftover before it was locked
                yield new
                return


def _remove_leftovers(folder: str) -> None:
    """Remove the temporary files of writers that were killed: they hold keys, and nobody has them locked."""
    names: list[str] = []
    with suppress(OSError):  # it may be written and not listed
        names = os.listdir(folder)  # noqa: PTH208
    for path in [f"{folder}/{name}" for name in names if name.startswith(_SCRATCH)]:
        with suppress(OSError):  # it is another user's, or somebody is writing it
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)  # noqa: PTH108
            finally:
                os.close(fd)


def how_to_make(path: str | None) -> str:
    """Return the advice to make a new keyring at this path."""
    shown = "PATH" if path is None else shlex.quote(path)
    return f"Make a keyring: safeload key new --out {shown}"


def _reason_of(error: OSError | ValueError) -> str:
    """Return why a file could not be used, without its path."""
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else "not a valid path"
