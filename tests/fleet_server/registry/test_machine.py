from __future__ import annotations

from itertools import product

import pytest

from fleet_server.registry.machine import TABLE
from fleet_server.registry.model import KioskEvent, KioskState
from kit.machine import IllegalTransition, step

PAIRS = list(product(KioskState, KioskEvent))


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_every_pair_is_a_step_or_refused(state: KioskState, event: KioskEvent) -> None:
    if (state, event) in TABLE:
        assert step(TABLE, state, event) in KioskState
    else:
        with pytest.raises(IllegalTransition):
            step(TABLE, state, event)


def test_a_retired_name_is_never_used_again() -> None:
    assert not [event for state, event in TABLE if state is KioskState.RETIRED]


def test_only_an_engineers_confirmation_or_release_makes_a_kiosk_listened_to() -> None:
    ways = {event for (_, event), state in TABLE.items() if state is KioskState.ENROLLED}
    assert ways == {KioskEvent.ENROL, KioskEvent.RELEASE}


def test_every_kiosk_can_be_cut_off_once_it_has_an_identity() -> None:
    for state in (KioskState.ENROLLED, KioskState.QUARANTINED):
        assert step(TABLE, state, KioskEvent.REVOKE) is KioskState.REVOKED
