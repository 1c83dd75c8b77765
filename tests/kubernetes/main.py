"""Runs the cases and counts them: see tests/kubernetes/run."""

import argparse
import contextlib
import signal
import sys
import time

import cases
from cluster import Failure, NotRun
from world import World

OPEN_SECONDS = 5400


class Late(Exception):
    """The deadline of a case has passed. No Failure, which waits would take for `not yet`."""


def main():
    options = arguments()
    chosen = [
        one for one in cases.ALL
        if not options.cases or any(part in one.name for part in options.cases)
    ]
    if options.list:
        print("\n".join(f"{one.name}: {one.promise}" for one in chosen))
        return
    if not chosen:
        sys.exit(f"no case has {' or '.join(options.cases)} in its name: see --list")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    world = World(options)
    passed, failed = 0, 0
    try:
        with deadline(OPEN_SECONDS):
            world.open()
        for world.round in range(options.times):
            for one in chosen:
                verdict = tried(world, one)
                passed += verdict == "ok"
                failed += verdict == "FAILED"
    except (Failure, Late) as failure:
        print(f"the cluster could not be made ready: {failure}")
        failed += 1
    finally:
        if not options.keep:
            world.close()
    print(f"test result: {'FAILED' if failed else 'ok'}. {passed} passed; {failed} failed")
    sys.exit(failed != 0)


def arguments():
    parser = argparse.ArgumentParser(usage="see the head of tests/kubernetes/run", add_help=True)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--load-command")
    parser.add_argument("--load-balancer")
    parser.add_argument("--client", default="")
    parser.add_argument("--kubectl", default="kubectl")
    parser.add_argument("--helm", default="helm")
    parser.add_argument("--data-folder")
    parser.add_argument("--next-address")
    parser.add_argument("--dns-override")
    parser.add_argument("--cpu-file")
    parser.add_argument("--more-nodes")
    parser.add_argument("--image")
    parser.add_argument("--scheme", default="port", choices=["port", "single"])
    parser.add_argument("--kafka", default="4.3.1")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--list", action="store_true")
    return parser.parse_args()


def tried(world, one):
    """Runs a case and prints its line; `ok`, `FAILED` or `not run`."""
    started = time.monotonic()
    try:
        with deadline(one.seconds):
            seen = one.run(world) or ""
        verdict = "ok"
    except NotRun as why:
        verdict, seen = "not run", str(why)
    except (Failure, Late) as failure:
        verdict, seen = "FAILED", f"\n{failure}"
    took = time.monotonic() - started
    print(f"{one.name:<28} {verdict:<8} {took:4.0f} s  {seen}".rstrip(), flush=True)
    return verdict


@contextlib.contextmanager
def deadline(seconds):
    """Ends a block that takes longer, whatever it waits for, with a Failure."""

    def late(*_):
        raise Late(f"not over within {seconds} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


if __name__ == "__main__":
    main()
