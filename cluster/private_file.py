"""Files of a data directory that a run depends on: closed to other users, and whole on disk before
the call returns.
"""

import os
from pathlib import Path

FILE_MODE = 0o600
FOLDER_MODE = 0o700
OTHERS_MASK = 0o077
"""The umask of a cluster: nothing that it makes is open to other users."""


def write_private(path: Path, data: bytes) -> None:
    """Replace a file's content. After a power cut it holds the old content or the new. Raises:
    OSError.
    """
    partial = path.with_suffix(".part")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put a folder's names on disk. Raises: OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def close_to_others(path: Path) -> None:
    """Take every right from other users. Raises: OSError when it belongs to another user."""
    if not path.is_symlink():
        path.chmod(FOLDER_MODE if path.is_dir() else FILE_MODE)
