"""What we do to the broker: give it a new revocation list, prove that it uses it, and end connections.

Mosquitto reads its revocation list again on SIGHUP, but a live connection stays up. Since client ids are
names of certificates, a connection of ours under the kiosk's own name takes the place of whoever holds it;
with the list in force, nobody gets back in. The list is proved by a canary: a certificate that is made for
the purpose and revoked in the same list must be refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import ssl
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import IO, Final

from fleet_server.errors import BrokerError
from fleet_server.registry.installation import PRIVATE, PUBLIC, Installation, write_file
from fleet_server.registry.pki import CertificateAuthority, Revocation, read_revocations
from kit.clock import Clock
from kit.logs import get_logger
from kit.mqtt import MqttClient, MqttSettings
from kit.supervise import TaskGroup, spawn

CANARY: Final = "fleet-canary"
MINTED_LIFE: Final = timedelta(minutes=5)
REMEMBERED: Final = timedelta(days=826)
"""Longer than any kiosk's certificate lives."""
RELOAD_TIMEOUT_S: Final = 15.0
KICK_TIMEOUT_S: Final = 10.0
PROBE_KEPT: Final = timedelta(minutes=1)
"""A canary stays on the list this long, so that two processes that prove their lists do not spoil each other's."""
_PROBE_S: Final = 0.5
"""How long the broker may take to refuse a certificate; accepting, it says nothing until CONNECT."""
_WORDS_BYTES: Final = 300
"""Of what a failing command says, the end."""
_CERTIFICATE: Final = "cert.pem"
_KEY: Final = "key.pem"
log = get_logger(__name__)


class BrokerControl:
    """Hands on the broker."""

    def __init__(
        self,
        installation: Installation,
        authority: CertificateAuthority,
        clock: Clock,
        *,
        reload_timeout_s: float = RELOAD_TIMEOUT_S,
    ) -> None:
        """Use the CA of this installation."""
        self._reload_timeout_s = reload_timeout_s
        self._installation = installation
        self._authority = authority
        self._clock = clock
        self._settings = installation.settings.broker
        self._life = timedelta(days=installation.settings.certificates.crl_days)
        self._proved: tuple[int, int, int] | None = None

    def write_revocations(self, revoked: Sequence[Revocation]) -> None:
        """Write the list for a broker that is not running, or will be reloaded by the caller.

        What an earlier list named stays on it, so that a store that was restored from an old backup lets
        nobody back in.
        """
        now = self._clock.utc()
        probes = [item for item in self._present() if item.is_probe and now - item.at < PROBE_KEPT]
        lines = {item.serial: item for item in (*probes, *self.listed(), *revoked)}
        crl = self._authority.revocation_list(lines.values(), now=now, life=self._life)
        write_file(self._installation.crl_file, crl, PUBLIC)

    def listed(self) -> list[Revocation]:
        """What the present list names and could still be valid, without probes; nothing when there is none."""
        oldest = self._clock.utc() - REMEMBERED
        return [item for item in self._present() if not item.is_probe and item.at > oldest]

    def is_proved(self) -> bool:
        """Whether the list that lies there is the one this process saw the broker use."""
        return self._proved is not None and self._proved == self._signature()

    async def put_revocations_in_force(self, revoked: Sequence[Revocation]) -> None:
        """Give the broker this list and return when it was seen to refuse by it.

        Raises:
            BrokerError: it cannot be told, is not there, or still accepts the canary when the time is over; or the
                list cannot be written.
        """
        now = self._clock.utc()
        canary, key = self._authority.mint(CANARY, now=now, life=MINTED_LIFE)
        try:
            await asyncio.to_thread(self.write_revocations, [*revoked, Revocation(canary.serial, now, is_probe=True)])
            written = await asyncio.to_thread(self._signature)
        except OSError as error:
            raise BrokerError(f"{self._installation.crl_file} cannot be written: {error.strerror}") from error
        await self.reload()
        context = await asyncio.to_thread(self._client_context, canary.pem.encode(), key)
        try:
            async with asyncio.timeout(self._reload_timeout_s):
                while not await self._refuses(context):
                    await self.reload()
        except TimeoutError:
            raise BrokerError("the broker still accepts a certificate that was revoked") from None
        self._proved = written
        try:
            await asyncio.to_thread(self._note_proof, written)
        except OSError as error:
            raise BrokerError(f"{self._installation.proof_file} cannot be written: {error.strerror}") from error

    async def reload(self) -> None:
        """Make the broker read its files again.

        Raises:
            BrokerError: there is no process to tell, it is another account's, or the command failed.
        """
        command = self._settings.reload_command
        if command:
            await _run(command, self._settings.reload_timeout_s)
            return
        pid_file = self._installation.settings.broker_pid_file
        try:
            pid = int(await asyncio.to_thread(pid_file.read_text))
            os.kill(pid, signal.SIGHUP)
        except PermissionError:
            raise BrokerError("the broker runs under another account: set broker.reload_command") from None
        except (OSError, ValueError):
            raise BrokerError(f"no broker found by {pid_file}: is it running?") from None

    async def kick(self, kid: str) -> None:
        """End whatever connection bears this kiosk's name, and drop its session with all that is queued.

        Raises:
            BrokerError: the broker did not let us take it over.
        """
        leaf, key = self._authority.mint(kid, now=self._clock.utc(), life=MINTED_LIFE)
        folder = await asyncio.to_thread(_private_folder, leaf.pem.encode(), key)
        try:
            await self._take_over(kid, folder / _CERTIFICATE, folder / _KEY)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _take_over(self, kid: str, certificate_file: Path, key_file: Path) -> None:
        connected = asyncio.Event()

        async def note() -> None:
            connected.set()

        client = MqttClient(
            MqttSettings(
                host=self._settings.host,
                port=self._settings.port,
                client_id=kid,
                ca_file=self._installation.ca_file,
                cert_file=certificate_file,
                key_file=key_file,
                clean_start=True,
                session_expiry_s=0,
                retry_base_s=0.2,
                retry_cap_s=1.0,
            ),
            clock=self._clock,
            on_connected=note,
        )
        async with TaskGroup() as group:
            running = spawn(group, client.run(), f"kick-{kid}")
            try:
                async with asyncio.timeout(KICK_TIMEOUT_S):
                    await connected.wait()
            except TimeoutError:
                log.warning("kiosk.not_kicked", kiosk_id=kid, error=client.last_error)
            finally:
                await client.close()
                running.cancel()
        if not connected.is_set():
            raise BrokerError(f"the connection of {kid} could not be taken over")
        log.info("kiosk.kicked", kiosk_id=kid)

    def _present(self) -> list[Revocation]:
        try:
            return read_revocations(self._installation.crl_file.read_bytes())
        except (OSError, ValueError):
            return []

    def _signature(self) -> tuple[int, int, int] | None:
        """What changes whenever the list is written: it is always a new file."""
        try:
            found = self._installation.crl_file.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _note_proof(self, written: tuple[int, int, int] | None) -> None:
        digest = hashlib.sha256(self._installation.crl_file.read_bytes()).hexdigest()
        if self._signature() == written:
            write_file(self._installation.proof_file, f"{digest}\n".encode(), PRIVATE)

    def _client_context(self, certificate: bytes, key: bytes) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self._installation.ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        folder = _private_folder(certificate, key)
        try:
            context.load_cert_chain(folder / _CERTIFICATE, folder / _KEY)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return context

    async def _refuses(self, context: ssl.SSLContext) -> bool:
        """Whether the broker ends a TLS 1.3 connection with this certificate.

        The refusal comes after the client's handshake, as an alert on the first read.
        """
        host, port = self._settings.host, self._settings.port
        try:
            reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
        except ssl.SSLError:
            return True
        except OSError as error:
            raise BrokerError(f"the broker at {host}:{port} is not there: {error.strerror or error}") from error
        try:
            async with asyncio.timeout(_PROBE_S):
                await reader.read(1)
        except TimeoutError:
            return False
        except OSError:
            return True  # ssl.SSLError is one: the alert
        else:
            return True
        finally:
            writer.transport.abort()


def _private_folder(certificate: bytes, key: bytes) -> Path:
    """A folder only we can read with these two files: neither OpenSSL nor paho takes them from memory."""
    folder = Path(tempfile.mkdtemp(prefix="fleet-minted-"))
    write_file(folder / _CERTIFICATE, certificate, PRIVATE)
    write_file(folder / _KEY, key, PRIVATE)
    return folder


async def _run(command: Sequence[str], timeout_s: float) -> None:
    """Run to the end, with everything it started killed when the time is over.

    Its words go to a file: a pipe would stay open for as long as a process it left behind.
    """
    said = await asyncio.to_thread(tempfile.TemporaryFile)
    with said:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=said,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise BrokerError(f"the reload command cannot be run: {error.strerror}") from error
        try:
            async with asyncio.timeout(timeout_s):
                code = await process.wait()
        except TimeoutError:
            raise BrokerError(f"the reload command did not end within {timeout_s:g} s and was killed") from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if code != 0:
            raise BrokerError(
                f"the reload command failed with exit code {code}: {await asyncio.to_thread(_last_words, said)}"
            )


def _last_words(said: IO[bytes]) -> str:
    said.seek(max(0, said.seek(0, os.SEEK_END) - _WORDS_BYTES))
    lines = said.read(_WORDS_BYTES).decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
