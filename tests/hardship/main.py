"""Runs the requested checks, and prints one line for each. See run.sh."""

import argparse
import importlib
import os
import random
import signal
import sys
import time
import traceback

from stage import Lost, Skipped, Stage

# The checks, and their size in the short form.
SHORT = {"kills": 120, "faults": 250, "cuts": 120, "full": 1, "places": 1, "reader": 1, "clock": 1, "hostility": 15,
         "soak": 60}

# The checks that can be made longer.
LONG = ("cuts", "kills", "faults", "hostility", "soak")


def arguments():
    parser = argparse.ArgumentParser(prog="tests/hardship/run.sh", allow_abbrev=False)
    parser.add_argument("words", nargs="*", metavar="BINARY | WHAT", help=f"what: {' '.join(SHORT)}")
    for name in LONG:
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"instead of {SHORT[name]}")
    parser.add_argument("--seed", type=int, help="of all random choices; the time of a signal stays random")
    given = parser.parse_intermixed_args()
    given.long = {name: getattr(given, name) for name in LONG if getattr(given, name)}
    given.binary = next((word for word in given.words if word not in SHORT), "target/release/resyncd")
    named = [word for word in given.words if word in SHORT] + list(given.long)
    given.what = [name for name in SHORT if name in named] or list(SHORT)
    if not os.access(given.binary, os.X_OK):
        parser.error(f"{given.binary} is no program; build it with: cargo build --release")
    if extra := [word for word in given.words if word not in SHORT and word != given.binary]:
        parser.error(f"unknown: {' '.join(extra)}")
    return given


def one(name, size, binary, seed):
    """A check: ok, FAILED or SKIPPED."""
    begun = time.monotonic()
    say = lambda what, text: print(f"{what} {name}: {text} [{time.monotonic() - begun:.0f} s]", flush=True)
    try:
        with Stage(binary, f"{seed}-{name}") as stage:
            say("ok", importlib.import_module(name).check(stage, size))
        return "ok"
    except Skipped as why:
        say("SKIPPED", why)
        return "FAILED" if os.environ.get("RESYNCD_NEED_HARDSHIP") == "1" else "skipped"
    except Lost as what:
        say("FAILED", f"{what} (seed {seed})")
        return "FAILED"
    except Exception:  # The check itself broke, which proves nothing.
        say("FAILED", f"the check broke (seed {seed}): {traceback.format_exc()}")
        return "FAILED"


def main():
    given = arguments()
    seed = given.seed if given.seed is not None else random.randrange(1 << 32)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(130))
    binary = os.path.realpath(given.binary)
    ends = [one(name, given.long.get(name, SHORT[name]), binary, seed) for name in given.what]
    print(f"{ends.count('ok')} ok, {ends.count('FAILED')} failed, {ends.count('skipped')} skipped", flush=True)
    # Client threads may wait for an agent that has ended.
    sys.stdout.flush()
    os._exit(1 if "FAILED" in ends else 0)


if __name__ == "__main__":
    main()
