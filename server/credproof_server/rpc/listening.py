"""What every listener has in common: limits of messages and connections, and how long it drains."""

from __future__ import annotations

from typing import Final

from credproof.base.limits import MESSAGE_BYTES_MAX

DRAIN_S: Final = 20.0
"""How long calls in flight may take to end after SIGTERM, in seconds."""
OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_concurrent_streams", 1000),
    # Whoever falls silent is let go: in the handshake, on a dead line, between calls.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.max_connection_idle_ms", 600_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    ("grpc.so_reuseport", 0),
)
