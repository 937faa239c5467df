"""HTTP resources of the flight recorder: what there is, one as a file, and throwing one away."""

from __future__ import annotations

import asyncio

from agent.local_api.auth import READ, RECORDINGS
from agent.recorder.shelf import Shelf
from kit.web import Call, FileBody, Problem, Routes
from wire.recording import RecordingList, RecordingView

_TYPE = "application/x-ndjson"


def recording_routes(shelf: Shelf) -> Routes:
    """The resources."""
    api = Routes("recordings")

    @api.get("/api/v1/recordings", permission=READ, summary="黑匣子记录列表 · Flight recordings, newest first")
    async def listed(call: Call) -> RecordingList:
        call.headers["Cache-Control"] = "no-store"
        found = await asyncio.to_thread(shelf.all)
        return RecordingList(
            recordings=[
                RecordingView(
                    name=shelved.name,
                    component=shelved.component,
                    fault=shelved.fault,
                    frozen_at=shelved.frozen_at,
                    bytes=shelved.size_bytes,
                )
                for shelved in found
            ]
        )

    @api.get("/api/v1/recordings/{name}", permission=READ, summary="下载黑匣子记录 · One recording as a file")
    async def download(call: Call, name: str) -> FileBody:
        file = await asyncio.to_thread(shelf.file, name)
        if file is None:
            raise _missing(call)
        return FileBody(file, _TYPE, file.name)

    @api.delete("/api/v1/recordings/{name}", permission=RECORDINGS, summary="删除黑匣子记录 · Throw a recording away")
    async def remove(call: Call, name: str) -> None:
        if not await asyncio.to_thread(shelf.remove, name):
            raise _missing(call)

    return api


def _missing(call: Call) -> Problem:
    call.headers["Cache-Control"] = "no-store"
    return Problem(404, "no_such_recording", "There is no recording of this name")
