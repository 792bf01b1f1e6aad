"""Durability `disk`: a write is answered when the disk has it, and everything else works as with `memory`."""

from __future__ import annotations

import time

from meridian_system.checks_faults import finish_ledgers, require_ledger_holds, start_ledgers
from meridian_system.federation import Options
from meridian_system.report import require
from meridian_system.world import World


def check_disk(world: World) -> str:
    """A load at both sites with `durability: disk`, and a kill -9."""
    with world.federation("durability-disk", Options(loops=world.loops, durability="disk")) as federation:
        crews = start_ledgers(federation, world.seed, clients=6)
        time.sleep(2.0)
        proxy = federation.north.proxies["n2"]
        assert proxy.process is not None
        proxy.process.kill()
        time.sleep(1.5)
        federation.start_proxy(proxy)
        time.sleep(1.0)
        told = finish_ledgers(crews)
        require(told.acknowledged > 200, f"only {told.acknowledged} writes were acknowledged")
        return require_ledger_holds(federation, told)
