"""What runs in a process of its own: the service, or a bare echo. `python -m benchmarks.child`.

    serve FOLDER [PROFILE]   as `credproof serve`; with PROFILE its CPU time by function goes there
    echo FOLDER              a unary echo over mTLS, with the service's certificates

It ends when its parent does, whatever kills that one, and after `LIFE_S` of CPU time anyway.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

import grpc
from credproof_server.cli import serve_command
from credproof_server.directory import ServiceDirectory

from benchmarks.children import ECHO
from benchmarks.profiling import profiled

LIFE_S = 600
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h


def main() -> None:
    """Do what the arguments say, until SIGTERM."""
    _bound_life()
    what, folder, *profile = sys.argv[1:]
    if what == "echo":
        asyncio.run(_echo(ServiceDirectory(Path(folder))))
    elif profile:
        with profiled(Path(profile[0])):
            serve_command(Path(folder))
    else:
        serve_command(Path(folder))


def _bound_life() -> None:
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CPU, (LIFE_S, LIFE_S))
    if os.getppid() == 1:  # the parent was gone before we asked
        sys.exit(1)


class _Echo(grpc.GenericRpcHandler):
    """Bytes in, the same bytes out: what one call costs when nothing is done."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return grpc.unary_unary_rpc_method_handler(_same) if details.method == ECHO else None


async def _same(request: bytes, _context: object) -> bytes:
    return request


async def _echo(directory: ServiceDirectory) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    credentials = grpc.ssl_server_credentials(
        [(directory.keys.read("server"), directory.certificate("server"))],
        root_certificates=directory.certificate("ca"),
        require_client_auth=True,
    )
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    server.add_generic_rpc_handlers((_Echo(),))
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    print(f"participants 127.0.0.1:{port}\nborrowers none", flush=True)
    await stop.wait()
    await server.stop(None)


if __name__ == "__main__":
    main()
