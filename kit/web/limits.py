"""The one table of limits of an HTTP server: sizes, deadlines and counts, each enforced by `kit.web`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may ask of the server before it is refused or cut."""

    head_deadline_s: float = 3.0
    """From the connection (or the first byte of a later request) to the end of the request head."""
    body_deadline_s: float = 5.0
    """From the end of the head to the end of the body."""
    keepalive_s: float = 30.0
    """How long an idle connection between two requests is kept."""
    write_stall_s: float = 20.0
    """How long a client may refuse to take bytes we have for it."""
    tls_handshake_s: float = 5.0
    linger_s: float = 1.0
    """How long the unread body of a refused request is drained, so that the client can read the answer."""
    shutdown_s: float = 2.0
    """How long running requests may take to end when the server stops."""
    file_bytes_per_s: int = 16_384
    """The slowest acceptable reader of a file response."""

    connections: int = 500
    line_bytes: int = 8_190
    """The request target."""
    field_bytes: int = 8_190
    """One header field, name or value."""
    headers: int = 64
    head_bytes: int = 32_768
    """The whole request head."""
    body_bytes: int = 1_048_576
    websocket_message_bytes: int = 65_536
    websocket_ping_s: float = 20.0
    websocket_close_s: float = 1.0
