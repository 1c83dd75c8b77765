"""Brokers that come, go and move; a client through Narrows, and one beside it that dials them."""

import contextlib
import functools
import pathlib

import cluster
from case import case
from cluster import Failure, until
from load import judge, judge_beside
from narrows import PORT, installed

SECONDS = 900


@contextlib.contextmanager
def both(world, topic):
    """A client through Narrows and one without it, both under way; (release, through, direct)."""
    with installed(world.release(), world.three_values()) as release:
        through = world.load_outside(f"{release.address()}:{PORT}", topic)
        with through, world.load_inside(f"{topic}-direct") as direct:
            through.started()
            direct.started()
            yield release, through, direct


def verdict(through, direct):
    """Ends both and compares; what to say of them."""
    journals = through.ended(), direct.ended()
    judge_beside(*journals)
    return "; ".join(
        f"{name}: {one}"
        for name, one in zip(("through Narrows", "direct"), journals)
    )


@case(SECONDS)
def broker_killed(world):
    """A broker's pod is killed and comes back on a new address."""
    with both(world, "broker-killed") as (release, through, direct):
        old = cluster.address_of(world.kafka.pod(1))
        kill(world, 1)
        through.goes_on()
        world.kafka.await_ready(3)
        new = cluster.address_of(world.kafka.pod(1))
        await_leader(world, release, 1)
        through.goes_on(50)
        direct.goes_on(50)
        if new == old:
            raise Failure(f"the pod kept its address {old}, so nothing was tried")
        return f"{old} to {new}; {verdict(through, direct)}"


def kill(world, *numbers):
    pods = [f"pod/{world.kafka.name}-{number}" for number in numbers]
    world.backstage.kubectl("delete", *pods, "--grace-period=0", "--force")


def await_leader(world, release, number):
    """Waits until a broker that has started has caught up, and leads, so that records go to it."""
    leads_now = functools.partial(leads, world, release, number)
    until(f"a partition led by broker {number}", leads_now, pause=2)


def leads(world, release, number):
    """Whether the broker leads a partition (again), as a client outside is told."""
    bootstrap = f"{release.address()}:{PORT}"
    told = cluster.run(*world.outside("kcat", "-b", bootstrap, "-L", "-m", "5"), seconds=30)
    return f", leader {number}," in told


@case(SECONDS)
def address_reused(world):
    """A broker's pod comes back with the address that another broker's pod had a moment before."""
    command = world.needs("next_address", "a command that gives the next pod an address")
    with both(world, "address-reused") as (release, through, direct):
        old = cluster.address_of(world.kafka.pod(1))
        kill(world, 1)
        until("another address for broker 1", lambda: moved(world, 1, old), pause=0.1)
        cluster.run(*command.split(), old)
        kill(world, 2)
        world.kafka.await_ready(3)
        if cluster.address_of(world.kafka.pod(2)) != old:
            raise Failure(f"broker 2 did not get {old}, the address that broker 1 had")
        for number in (1, 2):
            await_leader(world, release, number)
        through.goes_on(50)
        direct.goes_on(50)
        return f"broker 2 at {old}, where broker 1 was; {verdict(through, direct)}"


def moved(world, number, old):
    address = cluster.address_of(world.kafka.pod(number))
    return address and address != old


@case(SECONDS)
def dns_bent(world):
    """A broker's name leads to another broker, to nowhere and to silence, and back."""
    override = pathlib.Path(world.needs("dns_override", "a file that bends the cluster's DNS"))
    name = f"{world.kafka.name}-1.{world.kafka.domain}"
    with both(world, "dns-bent") as (release, through, direct):
        try:
            for answer in (cluster.address_of(world.kafka.pod(2)), "-", "!"):
                override.write_text(f"{name} {answer}\n")
                # New pods know no address from before.
                release.restart()
        finally:
            override.unlink(missing_ok=True)
        through.goes_on(100)
        direct.goes_on(100)
        return verdict(through, direct)


@case(SECONDS)
def brokers_rolled(world):
    """A rolling restart of all brokers."""
    with both(world, "brokers-rolled") as (_, through, direct):
        name = f"statefulset/{world.kafka.name}"
        world.backstage.kubectl("rollout", "restart", name)
        world.backstage.kubectl("rollout", "status", name, "--timeout=300s", seconds=310)
        through.goes_on(50)
        direct.goes_on(50)
        return verdict(through, direct)


@case(SECONDS)
def fourth_broker(world):
    """A fourth broker joins, and is used, without an edit of Narrows' configuration."""
    with both(world, "fourth-broker") as (release, through, direct):
        world.kafka.scale(4)
        world.kafka.await_ready(4)
        bootstrap = f"{release.address()}:{PORT}"
        # New topics get replicas on all brokers, so that some partitions are led by the new one.
        with world.load_outside(bootstrap, "on-four-brokers") as newcomer:
            newcomer.started().goes_on(200)
            await_leader(world, release, 3)
            judge(newcomer.ended())
        return verdict(through, direct)


@case(SECONDS)
def tutorial(world):
    """Every pod advertises the Service's one name, as in tutorials: `broker_address` cures it."""
    name = "tutorial"
    service = f"{name}-svc.{world.backstage.namespace}.svc.cluster.local"
    shared = world.start_kafka(name, advertised=f"{service}:9092")
    try:
        address = f"{name}-{{node_id}}.{service}:9092"
        values = {
            "bootstrapServers": shared.bootstrap,
            "config": {"clusters": {"kafka": {"broker_address": address}}},
        }
        with installed(world.release(), world.three_values(), values) as release:
            with world.load_outside(f"{release.address()}:{PORT}", "tutorial") as load:
                load.started().goes_on(200)
                journal = load.ended()
            judge(journal)
            return f"{len(journal.acked)} records"
    finally:
        shared.stop()
