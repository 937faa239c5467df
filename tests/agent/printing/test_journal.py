"""The print journal: one job a key, state before effect, content for as short as possible."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from agent.printing.journal import DATABASE, KEPT_JOBS, QUEUE_LIMIT, JournalError, Moment, PrintJournal, PrintRefused
from agent.printing.machine import JobEvent, JobState
from agent.printing.model import CONTENT_LIMIT, Draft, Job, JobKind
from wire.faults import Fault

NOW = Moment(1_790_000_000_000, "boot-1")
LATER = Moment(NOW.wall_ms + 600_000, "boot-1")
DRAFT = Draft("visit-1", "receipt-printer", JobKind.RECEIPT, b'{"name":"\xe5\xbc\xa0\xe4\xb8\x89"}')


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[PrintJournal]:
    found = PrintJournal(tmp_path)
    found.open(NOW)
    yield found
    found.close()


def take(journal: PrintJournal, key: str = DRAFT.key, **changes: object) -> Job:
    job, _ = journal.add(replace(DRAFT, key=key, **changes), NOW)  # type: ignore[arg-type]  # fields by name
    return job


def bytes_on_disk(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(directory.iterdir()))


def test_the_same_key_is_the_same_job(journal: PrintJournal) -> None:
    first, is_new = journal.add(DRAFT, NOW)
    again, is_new_again = journal.add(DRAFT, LATER)
    assert (is_new, is_new_again) == (True, False)
    assert again == first
    journal.begin(first.no, NOW)
    journal.move(first.no, JobEvent.CONFIRMED, NOW)
    printed, is_new_now = journal.add(DRAFT, LATER)
    assert (printed.state, is_new_now) == (JobState.PRINTED, False)


def test_a_key_never_names_two_contents(journal: PrintJournal) -> None:
    take(journal)
    with pytest.raises(PrintRefused, match="another job"):
        take(journal, content=b"other")
    with pytest.raises(PrintRefused, match="another job"):
        take(journal, component="report-printer")


@pytest.mark.parametrize("key", ["", "x" * 65, "two\nlines"])
def test_a_bad_key_is_refused(journal: PrintJournal, key: str) -> None:
    with pytest.raises(PrintRefused, match="key"):
        take(journal, key)
    assert journal.recent() == []


@pytest.mark.parametrize("content", [b"", b"x" * (CONTENT_LIMIT + 1)], ids=["empty", "too large"])
def test_a_bad_content_is_refused(journal: PrintJournal, content: bytes) -> None:
    with pytest.raises(PrintRefused, match="bytes"):
        take(journal, content=content)


def test_a_printer_has_so_many_jobs_and_no_more(journal: PrintJournal) -> None:
    for number in range(QUEUE_LIMIT):
        take(journal, f"k{number}")
    with pytest.raises(PrintRefused, match="waiting"):
        take(journal, "one-more")
    take(journal, "elsewhere", component="report-printer")
    journal.move(1, JobEvent.CANCEL, NOW)
    take(journal, "one-more")


def test_a_job_begins_once(journal: PrintJournal) -> None:
    job = take(journal)
    begun, content = journal.begin(job.no, NOW)
    assert (begun.state, begun.attempts, content) == (JobState.PRINTING, 1, DRAFT.content)
    with pytest.raises(PrintRefused, match="printing"):
        journal.begin(job.no, NOW)
    with pytest.raises(PrintRefused, match="printing"):
        journal.move(job.no, JobEvent.CANCEL, NOW)
    assert journal.job(job.no) == begun


def test_what_was_being_printed_at_a_crash_is_unknown(tmp_path: Path, journal: PrintJournal) -> None:
    printing, waiting = take(journal, "a"), take(journal, "b")
    journal.begin(printing.no, NOW)
    journal.close()
    again = PrintJournal(tmp_path)
    with closing(again):
        settled = again.open(LATER)
        assert [(job.no, job.state, job.fault) for job in settled] == [
            (printing.no, JobState.UNKNOWN, Fault.PRINT_UNKNOWN)
        ]
        assert [job.no for job in again.waiting()] == [waiting.no]


def test_after_a_reboot_nobody_waits_any_more(tmp_path: Path, journal: PrintJournal) -> None:
    waiting = take(journal)
    journal.close()
    again = PrintJournal(tmp_path)
    with closing(again):
        assert [job.state for job in again.open(replace(LATER, host_boot="boot-2"))] == [JobState.FAILED]
        assert again.waiting() == []
        assert again.by_key(waiting.key) is not None


def test_a_reprint_is_marked_when_paper_may_be_out(journal: PrintJournal) -> None:
    job = take(journal)
    journal.begin(job.no, NOW)
    journal.move(job.no, JobEvent.LOST, NOW)
    first = journal.reprint(job.no, "again-1", NOW)
    assert (first.reprint_of, first.copy_no, first.state) == (job.no, 1, JobState.QUEUED)
    assert journal.reprint(job.no, "again-1", NOW) == first
    assert journal.reprint(job.no, "again-2", NOW).copy_no == 2
    with pytest.raises(PrintRefused, match="over"):
        journal.reprint(first.no, "again-3", NOW)


def test_a_job_that_never_began_is_printed_again_without_a_mark(journal: PrintJournal) -> None:
    job = take(journal)
    journal.move(job.no, JobEvent.EXPIRED, NOW, Fault.PAPER_OUT)
    assert journal.reprint(job.no, "again", NOW).copy_no == 0


def test_a_printed_content_is_gone_at_once(tmp_path: Path, journal: PrintJournal) -> None:
    secret = "身份证 11010519491231002X".encode()
    job = take(journal, content=secret)
    assert secret in bytes_on_disk(tmp_path)
    journal.begin(job.no, NOW)
    journal.move(job.no, JobEvent.CONFIRMED, NOW)
    with pytest.raises(PrintRefused, match="content"):
        journal.reprint(job.no, "again", NOW)
    journal.close()
    assert secret not in bytes_on_disk(tmp_path)


def test_a_failed_content_is_kept_for_a_reprint_and_no_longer(tmp_path: Path, journal: PrintJournal) -> None:
    secret = b"a name of a patient"
    job = take(journal, content=secret)
    journal.begin(job.no, NOW)
    journal.move(job.no, JobEvent.FAILED, NOW, Fault.PAPER_JAM)
    assert journal.wipe(NOW.wall_ms) == 0
    assert journal.wipe(NOW.wall_ms + 1) == 1
    found = journal.job(job.no)
    assert found is not None
    assert (found.has_content, found.fault) == (False, Fault.PAPER_JAM)
    journal.close()
    assert secret not in bytes_on_disk(tmp_path)


def test_old_jobs_go_and_open_ones_stay(journal: PrintJournal) -> None:
    kept = take(journal, "kept")
    gone = take(journal, "gone")
    journal.move(gone.no, JobEvent.CANCEL, NOW)
    newest = take(journal, "newest")
    with journal._transaction() as connection:
        connection.execute("UPDATE job SET no = no + ? WHERE no = ?", (KEPT_JOBS, newest.no))
        connection.execute("UPDATE content SET no = no + ? WHERE no = ?", (KEPT_JOBS, newest.no))
    journal.wipe(0)
    assert journal.job(gone.no) is None
    assert journal.job(kept.no) == kept


def test_a_second_process_is_kept_out(tmp_path: Path, journal: PrintJournal) -> None:
    take(journal)
    other = PrintJournal(tmp_path)
    with pytest.raises(JournalError, match="locked"):
        other.open(NOW)


def test_a_damaged_file_is_put_aside(tmp_path: Path, journal: PrintJournal) -> None:
    take(journal)
    journal.close()
    path = tmp_path / DATABASE
    body = bytearray(path.read_bytes())
    body[4096 : 4096 + 2048] = b"\xa5" * 2048
    path.write_bytes(body)
    again = PrintJournal(tmp_path)
    with closing(again):
        again.open(LATER)
        assert again.quarantined is not None
        assert again.quarantined.read_bytes() == body
        assert again.recent() == []
        take(again)


def test_a_newer_file_is_left_alone(tmp_path: Path, journal: PrintJournal) -> None:
    journal.close()
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="version 99"):
        PrintJournal(tmp_path).open(NOW)


def test_no_content_in_what_is_printed_for_people() -> None:
    assert "\u5f20" not in repr(DRAFT)
    assert "name" not in repr(DRAFT)
