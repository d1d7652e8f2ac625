"""Host workspace: temporary folder with model links and runtime state.

It links to the packaged models, and the runtime writes its state there.

A run that was killed leaves its folder behind.  The owner of a folder holds a lock on a file in it; the OS releases the
lock when the process exits.  The next start removes every folder whose lock is free.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_flperf.foundry_host.embedded import EmbeddedModel

if TYPE_CHECKING:
    from pytest_flperf.foundry_host.folders import FolderModel

__all__ = ["Workspace", "remove_stale"]

_PREFIX: Final = "flperf-host-"
_LOCK: Final = "lock"
_CARD: Final = "inference_model.json"
"""The model name in this file tells the runtime which model a folder holds."""
_GRACE_S: Final = 60.0
"""A folder younger than this may be about to get its lock."""


class Workspace:
    """Temporary folder that lives as long as its owner."""

    def __init__(self, parent: Path | None = None) -> None:
        """Create and lock a folder in ``parent``.

        None: the system's temporary folder.
        """
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        self._lock: int | None = _lock(self.path / _LOCK, create=True)

    @property
    def model_cache_dir(self) -> Path:
        """Folder where the runtime looks for model files."""
        return self.path / "models"

    def link(self, models: Iterable[EmbeddedModel]) -> None:
        """Link packaged models to where the runtime expects downloads.

        That is ``<publisher>/<name>-<version>``.
        """
        publisher = self.model_cache_dir / "flperf"
        publisher.mkdir(parents=True, exist_ok=True)
        for model in models:
            target = publisher / f"{model.name}-{model.version}"
            try:
                target.symlink_to(model.folder, target_is_directory=True)
            except (OSError, NotImplementedError):
                # Windows links need a right that most users lack.  copyfile does not copy the source's read-only bit.
                target.mkdir()
                for file in model.folder.iterdir():
                    shutil.copyfile(file, target / file.name)

    def link_folder(self, model: FolderModel) -> None:
        """Link a user's folder there too, file by file.

        The runtime must not write into the user's folder.
        """
        target = self.model_cache_dir / "folder" / f"{model.name}-{model.version}"
        if target.exists():
            return
        target.mkdir(parents=True)
        for found in model.folder.iterdir():
            if found.name != _CARD:
                _link(found, target / found.name)
        card = {"Name": model.id, "PromptTemplate": model.prompt_template}
        (target / _CARD).write_text(json.dumps(card), encoding="utf-8")

    def remove(self) -> None:
        """Remove the folder; the next start removes what is left."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)
        _remove(self.path)


def remove_stale(parent: Path | None = None) -> None:
    """Remove the folders of killed runs."""
    root = parent or Path(tempfile.gettempdir())
    with contextlib.suppress(OSError):
        for folder in root.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                _remove_if_stale(folder)


def _link(source: Path, target: Path) -> None:
    """Link a file, or copy it where links aren't possible.

    Windows lets few users make symbolic links, and hard links stay on their volume.
    """
    try:
        target.symlink_to(source, target_is_directory=source.is_dir())
    except (OSError, NotImplementedError):
        if source.is_dir():
            target.mkdir()
            for each in source.iterdir():
                _link(each, target / each.name)
            return
        try:
            os.link(source, target)
        except (OSError, NotImplementedError):
            shutil.copyfile(source, target)


def _remove_if_stale(folder: Path) -> None:
    found = folder.lstat()
    mine = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    if not mine or not stat.S_ISDIR(found.st_mode):
        return
    try:
        lock = _lock(folder / _LOCK, create=False)
    except FileNotFoundError:
        if time.time() - found.st_mtime > _GRACE_S:
            _remove(folder)
        return
    if lock is not None:
        os.close(lock)
        _remove(folder)


def _lock(path: Path, *, create: bool) -> int | None:
    """Lock the file and return its descriptor; None if already locked."""
    descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _remove(folder: Path) -> None:
    def make_writable(function: Callable[[str], object], path: str, _error: object) -> None:
        with contextlib.suppress(OSError):
            Path(path).chmod(0o700)
            function(path)

    # onerror is deprecated since 3.12 in favour of onexc, which 3.11 does not know.
    if sys.version_info >= (3, 12):
        shutil.rmtree(folder, onexc=make_writable)
    else:
        shutil.rmtree(folder, onerror=make_writable)
