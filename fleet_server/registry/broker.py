"""What we do to the broker: give it a new revocation list, prove that it uses it, and end connections.

Mosquitto reads its revocation list again on SIGHUP, but a live connection stays up. Since client ids are
names of certificates, a connection of ours under the kiosk's own name takes the place of whoever holds it;
with the list in force, nobody gets back in. The list is proved by a canary: a certificate that is made for
the purpose and revoked in the same list must be refused.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import ssl
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from fleet_server.errors import BrokerError
from fleet_server.registry.installation import PRIVATE, PUBLIC, Installation, write_file
from fleet_server.registry.pki import CertificateAuthority, Revocation, read_revocations
from kit.clock import Clock
from kit.logs import get_logger
from kit.mqtt import MqttClient, MqttSettings
from kit.supervise import spawn

CANARY: Final = "fleet-canary"
MINTED_LIFE: Final = timedelta(minutes=5)
REMEMBERED: Final = timedelta(days=826)
"""Longer than any kiosk's certificate lives."""
RELOAD_TIMEOUT_S: Final = 15.0
KICK_TIMEOUT_S: Final = 10.0
_PROBE_S: Final = 0.5
"""How long the broker may take to refuse a certificate; accepting, it says nothing until CONNECT."""
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

    def write_revocations(self, revoked: Sequence[Revocation]) -> None:
        """Write the list for a broker that is not running, or will be reloaded by the caller.

        What an earlier list named stays on it, so that a store that was restored from an old backup lets
        nobody back in.
        """
        now = self._clock.utc()
        lines = {item.serial: item for item in (*self.listed(), *revoked)}
        crl = self._authority.revocation_list(lines.values(), now=now, life=self._life)
        write_file(self._installation.crl_file, crl, PUBLIC)

    def listed(self) -> list[Revocation]:
        """What the present list names and could still be valid, without probes; nothing when there is none."""
        try:
            found = read_revocations(self._installation.crl_file.read_bytes())
        except (OSError, ValueError):
            return []
        oldest = self._clock.utc() - REMEMBERED
        return [item for item in found if not item.is_probe and item.at > oldest]

    async def put_revocations_in_force(self, revoked: Sequence[Revocation]) -> None:
        """Give the broker this list and return when it was seen to refuse by it.

        Raises:
            BrokerError: it cannot be told, is not there, or still accepts the canary when the time is over.
        """
        now = self._clock.utc()
        canary, key = self._authority.mint(CANARY, now=now, life=MINTED_LIFE)
        await asyncio.to_thread(self.write_revocations, [*revoked, Revocation(canary.serial, now, is_probe=True)])
        await self.reload()
        context = await asyncio.to_thread(self._client_context, canary.pem.encode(), key)
        try:
            async with asyncio.timeout(self._reload_timeout_s):
                while not await self._refuses(context):
                    await self.reload()
        except TimeoutError:
            raise BrokerError("the broker still accepts a certificate that was revoked") from None

    async def reload(self) -> None:
        """Make the broker read its files again.

        Raises:
            BrokerError: there is no process to tell, or the command failed.
        """
        command = self._settings.reload_command
        if command:
            await _run(command)
            return
        pid_file = self._installation.settings.broker_pid_file
        try:
            pid = int(await asyncio.to_thread(pid_file.read_text))
            os.kill(pid, signal.SIGHUP)
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
        async with asyncio.TaskGroup() as group:
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


async def _run(command: Sequence[str]) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        raise BrokerError(f"the reload command cannot be run: {error.strerror}") from error
    try:
        async with asyncio.timeout(RELOAD_TIMEOUT_S):
            code = await process.wait()
    except TimeoutError:
        process.kill()
        raise BrokerError("the reload command did not end in time") from None
    if code != 0:
        raise BrokerError(f"the reload command failed with exit code {code}")
