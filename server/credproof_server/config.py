"""The configuration of a service: one TOML file, read into frozen dataclasses."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from credproof.base.errors import Malformed
from credproof.base.limits import (
    TIMESTAMP_AUTHORITIES_MAX,
    TIMESTAMP_EVERY_MAX_S,
    URL_CHARS_MAX,
    at_most,
)
from credproof.base.members import Members
from credproof.log.timestamp import is_authority_name, is_policy
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
class TimestampSource:
    """A timestamp authority: where it is asked, by which file of certificates it is believed.

    The file lies in the service's directory. `policy` is an OID; empty if any will do.
    """

    name: str
    url: str
    certificates: str
    policy: str


@dataclass(frozen=True, slots=True)
class Timestamps:
    """Who is asked for timestamps of checkpoints, and how many seconds lie between requests."""

    every_s: int = 600
    authorities: tuple[TimestampSource, ...] = ()


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
    timestamps: Timestamps = Timestamps()


def load_config(folder: Path) -> ServiceConfig:
    """The configuration in a service's directory.

    Raises:
        Malformed: `NO_SERVICE` when there is none, `BAD_CONFIG`.
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
        Malformed: `BAD_CONFIG`.
    """
    try:
        config = _parse(tomllib.loads(data.decode("utf-8")))
    except ValueError as error:
        raise Malformed("BAD_CONFIG", f"{FILE_NAME} is not TOML") from error
    except Malformed as error:
        reason = "BAD_CONFIG" if error.reason == "BAD_MEMBER" else error.reason
        raise type(error)(reason, f"{FILE_NAME}: {error.message}") from error
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
        timestamps=_timestamps(top.optional("timestamps", dict)),
    )
    for members in (top, storage, quotas, misuse):
        members.finish()
    return config


def _timestamps(value: dict[str, Any] | None) -> Timestamps:
    if value is None:
        return Timestamps()
    members = Members(value, "timestamps")
    every = members.take("every", int)
    sources = members.optional("authorities", list) or []
    members.finish()
    at_most(len(sources), TIMESTAMP_AUTHORITIES_MAX, "timestamp authorities")
    found = tuple(_source(item) for item in sources)
    if not 1 <= every <= TIMESTAMP_EVERY_MAX_S:
        message = f"every of timestamps is from 1 to {TIMESTAMP_EVERY_MAX_S} seconds"
        raise Malformed("BAD_CONFIG", message)
    if len({source.name for source in found}) != len(found):
        raise Malformed("BAD_CONFIG", "two timestamp authorities have one name")
    return Timestamps(every, found)


def _source(value: Any) -> TimestampSource:
    members = Members(value, "timestamp authority")
    source = TimestampSource(
        name=members.take("name", str),
        url=members.take("url", str),
        certificates=members.take("certificates", str),
        policy=members.optional("policy", str) or "",
    )
    members.finish()
    if not is_authority_name(source.name):
        message = "a timestamp authority has a name of a-z, 0-9 and hyphens, at most 40 of them"
        raise Malformed("BAD_CONFIG", message)
    if not _is_url(source.url):
        raise Malformed("BAD_CONFIG", "the url of a timestamp authority is http:// or https://")
    if not is_policy(source.policy):
        raise Malformed("BAD_CONFIG", "the policy of a timestamp authority is an OID like 1.2.3")
    return source


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    fits = len(text) <= URL_CHARS_MAX and text.isascii() and text.isprintable()
    return fits and has_port and parts.scheme in ("http", "https") and bool(parts.hostname)


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

[timestamps]
# Seconds between two requests to one timestamp authority (RFC 3161), at most 3600. It is asked
# about the newest checkpoint, and only when the log has grown: see credproof timestamps.
every = 600

# One block for each authority; certificates are a PEM file in this directory: those of its
# issuers, up to a root. With a policy (an OID), only timestamps under it are taken.
# [[timestamps.authorities]]
# name = "one"
# url = "http://timestamps.example/"
# certificates = "one.pem"
# policy = ""
"""
"""What `credproof init` writes."""
