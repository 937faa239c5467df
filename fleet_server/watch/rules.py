"""When people are told that alerting is gone, and that it is back. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from fleet_server.watch.model import Sight, WatchState


def seen(state: WatchState, sight: Sight, silent: timedelta, new_id: str) -> WatchState:
    """What follows from a look."""
    if sight.idle_s is not None and sight.idle_s <= silent.total_seconds():
        known = sight.at - timedelta(seconds=max(sight.idle_s, 0.0))
        well_at = known if state.well_at is None else max(state.well_at, known)
        return WatchState(well_at=min(well_at, sight.at), over=tuple(sorted({*state.over, *state.told})))
    # A clock that was put back must not make the silence look short for ever.
    well_at = sight.at if state.well_at is None else min(state.well_at, sight.at)
    is_gone = sight.at - well_at >= silent
    if state.began_at is None and is_gone:
        return WatchState(well_at=well_at, began_at=well_at, id=new_id)
    return state.model_copy(update={"well_at": well_at})


def due(state: WatchState, targets: Iterable[str], now: datetime, repeat: timedelta) -> list[str]:
    """Who is to be told now that it is gone: each once, and again until it is back."""
    if state.began_at is None:
        return []
    return [one for one in targets if one not in state.told or not timedelta() <= now - state.told[one] < repeat]


def took(state: WatchState, target: str, now: datetime) -> WatchState:
    """A target has taken the message that it is gone."""
    return state.model_copy(update={"told": {**state.told, target: now}})


def heard_over(state: WatchState, target: str) -> WatchState:
    """A target has heard that it is back."""
    return state.model_copy(update={"over": tuple(one for one in state.over if one != target)})
