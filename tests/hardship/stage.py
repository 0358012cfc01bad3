"""The environment of a check: its own directory, required tools, temporary mounts."""

import contextlib
import os
import random
import shutil
import subprocess
import tempfile
import time

# How long any expected event may take on a busy machine.
PATIENCE = 60.0


class Skipped(Exception):
    """This machine cannot do it."""


class Lost(Exception):
    """A promise was broken; the text says which and how."""


def demand(holds, what):
    """Fails the check with `what`, unless it holds."""
    if not holds:
        raise Lost(what)


def wait_until(what, holds, patience=PATIENCE, look=0.002):
    """Waits until a condition holds. Returns its value."""
    end = time.monotonic() + patience
    while True:
        found = holds()
        if found:
            return found
        demand(time.monotonic() < end, f"waited {patience:.0f} s in vain for: {what}")
        time.sleep(look)


def need(command, package):
    """The path of a tool."""
    path = shutil.which(command) or shutil.which(command, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if path is None:
        raise Skipped(f"{command} is missing (Debian package {package})")
    return path


def need_root():
    if os.geteuid() != 0:
        raise Skipped("needs root, to mount")


def run(*command):
    """Runs a tool that must succeed."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


class Stage(contextlib.ExitStack):
    """A check's directory and everything that ends with it, in reverse order."""

    def __init__(self, binary, seed):
        super().__init__()
        self.binary = binary
        self.random = random.Random(seed)
        # A socket's path is limited to 107 bytes, so it is not below a long TMPDIR.
        self.dir = tempfile.mkdtemp(prefix="resyncd-hardship.", dir="/tmp")
        self.callback(shutil.rmtree, self.dir, ignore_errors=True)

    def make(self, name):
        """A new directory."""
        path = os.path.join(self.dir, name)
        os.makedirs(path)
        return path

    def mount(self, name, *arguments):
        """Mounts something until the check ends."""
        need_root()
        path = self.make(name)
        try:
            run(need("mount", "mount"), *arguments, path)
        except OSError as error:
            raise Skipped(f"this system does not mount it: {error}") from error
        self.callback(unmount, path)
        return path


def unmount(path):
    """Immediately; or, if a file is still open there, with its last descriptor."""
    if subprocess.run(["umount", path], capture_output=True).returncode != 0:
        subprocess.run(["umount", "-l", path], capture_output=True)
