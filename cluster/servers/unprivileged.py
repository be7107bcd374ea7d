"""Run a program as a user that is not root: `python unprivileged.py USER READ_ALL PROGRAM
ARGUMENTS...`. This file runs by itself.

Postgres refuses to run as root. The process becomes USER and then the program, under the same
process id. With READ_ALL = 1 it keeps one right of root's: to pass through and read directories.
The data directory or the environment may lie below a directory that only root may enter. So nothing
in the file system has to be opened to others. Linux only.
"""

import ctypes
import os
import pwd
import sys

PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2


def main(arguments: list[str]) -> None:
    """Become the user and then the program. Raises: OSError when the system refuses either."""
    name, read_all, *program = arguments
    user = pwd.getpwnam(name)
    libc = ctypes.CDLL(None, use_errno=True)
    if read_all == "1":
        _check(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    if read_all == "1":
        _keep_one_of(libc, (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE))
    os.umask(0o077)
    os.execv(program[0], program)


def _keep_one_of(libc: ctypes.CDLL, capabilities: tuple[int, ...]) -> None:
    """Keep the first of these rights that this root has, and no other, across exec. Containers
    withhold some.
    """
    for capability in capabilities:
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
        mask = 1 << capability
        # Two sets of effective, permitted, inheritable, for capabilities 0 to 31 and 32 to 63.
        sets = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
        if libc.capset(header, sets) == 0:
            _check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0))
            return
    _check(-1)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(sys.argv[1:])
