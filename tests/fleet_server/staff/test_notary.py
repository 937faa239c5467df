"""A trail that is computed anew by whoever owns the database still is not the one that was noted and signed."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import text

from fleet_server.staff.audit import CHAIN_START, AuditBreak, AuditHead, chain_value
from fleet_server.staff.notary import FILE, HeadBook, Notary, NotaryError
from fleet_server.staff.ports import AuditEntry
from kit.clock import ManualClock
from support.staff import Desk


class Alarms:
    """What was told, in order."""

    def __init__(self) -> None:
        self.told: list[bool] = []

    async def trail_is(self, *, whole: bool) -> None:
        self.told.append(whole)


class Office:
    """A notary on a trail of some rows."""

    def __init__(self, desk: Desk, folder: Path) -> None:
        self.desk = desk
        self.folder = folder
        self.book = HeadBook(folder, folder)
        self.alarms = Alarms()
        self.notary = Notary(desk.trail, self.book, self.alarms, desk.clock)

    async def act(self, count: int = 3) -> None:
        for number in range(count):
            await self.desk.trail.record(AuditEntry("chief", "kiosks.revoke", f"k-{number:04d}", "ok"))

    async def rewrite(self, no: int) -> None:
        """Change a row and compute every chain value anew, the head too."""
        database = self.desk.store._database
        async with database.write() as connection:
            await connection.execute(text("UPDATE staff_audit SET actor = 'nobody' WHERE no = :no"), {"no": no})
        rows = await self.desk.audit.rows(limit=1_000, after_no=0)
        chain = CHAIN_START
        async with database.write() as connection:
            for row in rows:
                chain = chain_value(chain, row)
                values = {"no": row.no, "chain": chain}
                await connection.execute(text("UPDATE staff_audit SET chain = :chain WHERE no = :no"), values)
            await connection.execute(text("UPDATE staff_audit_head SET chain = :chain"), {"chain": chain})


@pytest.fixture
async def office(desk: Desk, tmp_path: Path) -> Office:
    made = Office(desk, tmp_path)
    await made.act()
    return made


def checked_by_openssl(folder: Path) -> None:
    """The first line's signature holds, and the key is ours alone."""
    lines = [json.loads(line) for line in (folder / FILE).read_text(encoding="ascii").splitlines()]
    assert [line["no"] for line in lines] == [3, 5]
    said = f"AUDIT1.{lines[0]['no']}.{lines[0]['chain']}.{lines[0]['at']}"
    (folder / "signature").write_bytes(base64.b64decode(lines[0]["signature"]))
    command = ["openssl", "dgst", "-sha256", "-verify", "audit.pub.pem", "-signature", "signature"]
    subprocess.run(command, cwd=folder, input=said.encode(), check=True, capture_output=True)
    assert (folder / "audit.key").stat().st_mode & 0o777 == 0o600


async def test_every_hour_has_its_line_and_openssl_can_check_it(office: Office) -> None:
    noted = await office.notary.note()
    assert noted is not None
    assert await office.notary.note() is None  # nothing happened since
    await office.act(2)
    office.desk.clock.advance(3_600)
    assert (await office.notary.note() or noted).head.no == noted.head.no + 2
    await asyncio.to_thread(checked_by_openssl, office.folder)
    assert await office.notary.broken() is None
    assert office.alarms.told == [True, True, True]


async def test_a_trail_computed_anew_is_whole_and_still_found(office: Office) -> None:
    await office.notary.note()
    await office.rewrite(2)
    assert await office.desk.trail.verify() is None  # the chain alone does not show it
    assert await office.notary.note() is None
    assert office.alarms.told == [True, False]
    found = await office.notary.broken()
    assert found is not None
    assert found.no == 3
    await office.act()
    assert await office.notary.note() is None  # nothing new is noted over a forgery


async def test_a_trail_that_was_cut_is_found(office: Office) -> None:
    await office.notary.note()
    async with office.desk.store._database.write() as connection:
        await connection.execute(text("DELETE FROM staff_audit WHERE no = 3"))
        chain = (await connection.execute(text("SELECT chain FROM staff_audit WHERE no = 2"))).scalar_one()
        await connection.execute(text("UPDATE staff_audit_head SET no = 2, chain = :chain"), {"chain": chain})
    assert await office.desk.trail.verify() is None
    assert await office.notary.note() is None
    assert office.alarms.told == [True, False]


async def test_an_edited_line_is_not_signed_by_us_and_a_cut_one_does_not_count(office: Office) -> None:
    await office.notary.note()
    file = office.folder / FILE
    good = await asyncio.to_thread(file.read_bytes)
    await asyncio.to_thread(file.write_bytes, good + good[:40])  # the power went while it was written
    assert [noted.head.no for noted in await asyncio.to_thread(office.book.noted)] == [3]
    await office.act(1)
    await office.notary.note()
    assert [noted.head.no for noted in await asyncio.to_thread(office.book.noted)] == [3, 4]
    await asyncio.to_thread(file.write_bytes, good.replace(b'"no": 3', b'"no": 2'))
    with pytest.raises(NotaryError, match=r"line 1 .* not signed by us"):
        await asyncio.to_thread(office.book.noted)
    for broken in (b"{}\n", b"nonsense\n", good.replace(b'"signature": "', b'"signature": "%')):
        await asyncio.to_thread(file.write_bytes, broken)
        with pytest.raises(NotaryError, match=r"line 1 .* is broken"):
            await asyncio.to_thread(office.book.noted)
    assert await office.notary.broken() == AuditBreak(0, "line 1 of audit-heads.jsonl is broken")


def test_a_key_of_somebody_else_is_no_key(tmp_path: Path, manual_clock: ManualClock) -> None:
    (tmp_path / "audit.key").write_bytes(b"no key")
    with pytest.raises(NotaryError, match="no key"):
        HeadBook(tmp_path, tmp_path).note(AuditHead(1, "00" * 32), manual_clock.utc())
