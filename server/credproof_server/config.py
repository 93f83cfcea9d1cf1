"""The configuration of a service: one TOML file, read into frozen dataclasses."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from credproof.base.errors import Malformed
from credproof.base.members import Members
from credproof.verification.bundle import is_domain

FILE_NAME: Final = "credproof.toml"
PORT_MAX: Final = 65_535
_ADDRESS: Final = re.compile(r"\S+:[0-9]{1,5}\Z")


@dataclass(frozen=True, slots=True)
class Quotas:
    """OPRF evaluations per participant and UTC day: each one is a guess at an id."""

    provider_evaluations_per_day: int
    lender_evaluations_per_day: int


@dataclass(frozen=True, slots=True)
class Storage:
    """URLs of the two stores; empty means a SQLite file in the service's directory."""

    main_url: str
    vault_url: str


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """All settings. Addresses are `host:port`: port 0 takes a free one, empty listens nowhere."""

    trust_domain: str
    log_origin: str
    participants_listen: str
    borrowers_listen: str
    tiles_listen: str
    host_names: tuple[str, ...]
    storage: Storage
    quotas: Quotas
    misuse_rules: str = ""
    """The file with the rules of misuse, in the service's directory; empty means what ships."""


def load_config(folder: Path) -> ServiceConfig:
    """The configuration in a service's directory.

    Raises:
        Malformed: `NO_SERVICE` when there is none, `BAD_CONFIG`, `BAD_MEMBER`.
    """
    try:
        data = (folder / FILE_NAME).read_bytes()
    except FileNotFoundError as error:
        message = f"no {FILE_NAME} there: make a service with credproof init"
        raise Malformed("NO_SERVICE", message) from error
    return parse_config(data)


def parse_config(data: bytes) -> ServiceConfig:
    """The settings in a configuration file.

    Raises:
        Malformed: `BAD_CONFIG`, `BAD_MEMBER`.
    """
    try:
        config = _parse(tomllib.loads(data.decode("utf-8")))
    except ValueError as error:
        raise Malformed("BAD_CONFIG", f"{FILE_NAME} is not TOML") from error
    if not is_domain(config.trust_domain):
        raise Malformed("BAD_CONFIG", "trust_domain is not a name like bureau.example")
    listening = (config.participants_listen, config.borrowers_listen, config.tiles_listen)
    for address in filter(None, listening):
        if not _ADDRESS.match(address) or int(address.rpartition(":")[2]) > PORT_MAX:
            raise Malformed("BAD_CONFIG", "an address to listen on is host:port, port 0 to 65535")
    for url in (config.storage.main_url, config.storage.vault_url):
        if url and not url.startswith("sqlite:///"):
            raise Malformed("BAD_CONFIG", "only sqlite:/// URLs are supported so far")
    return config


def _parse(value: dict[str, Any]) -> ServiceConfig:
    top = Members(value, FILE_NAME)
    storage, quotas = (Members(top.take(name, dict), name) for name in ("storage", "quotas"))
    misuse = Members(top.optional("misuse", dict) or {}, "misuse")  # older files lack it
    config = ServiceConfig(
        trust_domain=top.take("trust_domain", str),
        log_origin=top.take("log_origin", str),
        participants_listen=top.take("participants_listen", str),
        borrowers_listen=top.take("borrowers_listen", str),
        tiles_listen=top.optional("tiles_listen", str) or "",
        host_names=top.strings("host_names"),
        storage=Storage(storage.take("main_url", str), storage.take("vault_url", str)),
        quotas=Quotas(
            quotas.take("provider_evaluations_per_day", int),
            quotas.take("lender_evaluations_per_day", int),
        ),
        misuse_rules=misuse.optional("rules", str) or "",
    )
    for members in (top, storage, quotas, misuse):
        members.finish()
    return config


TEMPLATE: Final = """\
# A credproof service. Restart it after a change.

# The name of this service, as it stands in SPIFFE ids, consents and answers.
trust_domain = "{trust_domain}"

# The name of the audit log in its checkpoints (a URL without scheme). Never change it.
log_origin = "{trust_domain}/log"

# Where providers, lenders and auditors connect (mTLS), and where borrowers do.
# Port 0 takes a free port; `credproof serve` prints both addresses.
participants_listen = "{participants_listen}"
borrowers_listen = "{borrowers_listen}"

# Where the log is read over HTTP as static files (C2SP tlog-tiles): checkpoint and hash tiles by
# everybody, entries by auditors. Empty: nowhere. Put a proxy with TLS before it.
tiles_listen = ""

# Names and addresses in the server's certificate.
host_names = ["localhost", "127.0.0.1"]

[storage]
# Empty means a SQLite file in this directory (only SQLite is supported so far). The vault holds the
# borrowers' data keys: keep its backups apart, and for a short time only.
main_url = ""
vault_url = ""

[quotas]
# Evaluations of the pseudonym function per participant and UTC day.
provider_evaluations_per_day = 10000000
lender_evaluations_per_day = 1000000

[misuse]
# A file with rules of misuse in this directory; empty means those that ship. Print them with
# credproof rules show, check your own with credproof rules lint.
rules = ""
"""
"""What `credproof init` writes."""
