"""The configuration of a custodian: one TOML file, read into a frozen dataclass."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from credproof.attestation.oprf_key import is_address
from credproof.base.errors import Malformed
from credproof.base.members import Members

from credproof_server.config import Quotas

FILE_NAME: Final = "custodian.toml"


@dataclass(frozen=True, slots=True)
class CustodianConfig:
    """All settings. `listen` and `address` are `host:port`; `address` is where others connect.

    `all_evaluations_per_day` bounds all participants together, `quotas` each of them.
    """

    listen: str
    address: str
    quotas: Quotas
    all_evaluations_per_day: int


def load_config(folder: Path) -> CustodianConfig:
    """The configuration in a custodian's directory.

    Raises:
        Malformed: `NO_CUSTODIAN` when there is none, `BAD_CONFIG`.
    """
    try:
        data = (folder / FILE_NAME).read_bytes()
    except FileNotFoundError as error:
        message = f"no {FILE_NAME} there: make a custodian with credproof custodian init"
        raise Malformed("NO_CUSTODIAN", message) from error
    return parse_config(data)


def parse_config(data: bytes) -> CustodianConfig:
    """The settings in a configuration file.

    Raises:
        Malformed: `BAD_CONFIG`.
    """
    try:
        config = _parse(tomllib.loads(data.decode("utf-8")))
    except ValueError as error:
        raise Malformed("BAD_CONFIG", f"{FILE_NAME} is not TOML") from error
    except Malformed as error:
        raise Malformed("BAD_CONFIG", f"{FILE_NAME}: {error.message}") from error
    if not (is_address(config.listen) and is_address(config.address)):
        raise Malformed("BAD_CONFIG", "an address is host:port, port 1 to 65535")
    return config


def _parse(value: dict[str, Any]) -> CustodianConfig:
    top = Members(value, FILE_NAME)
    quotas = Members(top.take("quotas", dict), "quotas")
    config = CustodianConfig(
        listen=top.take("listen", str),
        address=top.take("address", str),
        quotas=Quotas(
            quotas.take("provider_evaluations_per_day", int),
            quotas.take("lender_evaluations_per_day", int),
        ),
        all_evaluations_per_day=quotas.take("all_evaluations_per_day", int),
    )
    for members in (top, quotas):
        members.finish()
    return config


TEMPLATE: Final = """\
# A custodian of a credproof service. Restart it after a change.

# Where it listens (mTLS), and where providers, lenders and auditors reach it. The second one stands
# in the trust bundle: after a change run `credproof custodian renew` and let the operator admit it.
listen = "{listen}"
address = "{address}"

[quotas]
# Evaluations under this share per participant and UTC day: each one is a guess at an id. They hold
# whatever the service allows. The third bounds all participants together, since the operator could
# admit any number of them.
provider_evaluations_per_day = 10000000
lender_evaluations_per_day = 1000000
all_evaluations_per_day = 20000000
"""
"""What `credproof custodian init` writes."""
