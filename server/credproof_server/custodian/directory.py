"""A custodian's directory: a participant's home, with a share and settings.

custodian.toml     settings                        kek             key-encryption key
keys/share.key     the share, encrypted            quota.db        evaluations by day and caller
signing.key, tls.key, tls.crt, ca.crt, participant.json, trust.json, enrolment.json: as in any home
lock               held while it runs
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from credproof import home as homes
from credproof.attestation.oprf_key import OprfKey
from credproof.base.encoding import b64url
from credproof.base.errors import DataLoss, Malformed, VerificationFailed
from credproof.base.group import scalar_from
from credproof.base.oprf import public_key
from credproof.custody import Custody
from credproof.enrolment import enrol, enrol_again
from credproof.files import write_private
from credproof.home import SETTINGS, Home
from credproof.verification.trust import Trust

from credproof_server.custodian.config import FILE_NAME, TEMPLATE, load_config, parse_config
from credproof_server.directory import locked, now
from credproof_server.storage.keystore import KEY_BYTES, KeyStore, load_key_encryption

SHARE: Final = "share"
QUOTA: Final = "quota.db"


class CustodianDirectory:
    """The files of one custodian."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = load_config(folder)

    def locked(self) -> AbstractContextManager[None]:
        """As `credproof_server.directory.locked`."""
        return locked(self.folder)

    def home(self) -> Home:
        """The custodian as a participant, once it has joined.

        Raises:
            Malformed: `NO_PARTICIPANT` before.
        """
        if not (self.folder / SETTINGS).exists():
            message = "it has not joined yet: use credproof custodian join"
            raise Malformed("NO_PARTICIPANT", message)
        return Home(self.folder)

    def share(self) -> bytes:
        """The share's secret, 32 bytes.

        Raises:
            DataLoss: `SHARE_NOT_READ`.
        """
        try:
            key_encryption = load_key_encryption(self.folder / "kek")
            return KeyStore(self.folder / "keys", key_encryption).read(SHARE)
        except DataLoss as error:
            message = f"{error.message}: put keys and kek back from a backup of this directory"
            raise DataLoss("SHARE_NOT_READ", message) from error


def init(folder: Path, *, custodian_id: str, title: str, listen: str, address: str) -> bytes:
    """Make a custodian's keys, share and settings; gives the enrolment for the operator.

    Raises:
        Malformed: `BAD_CONFIG`, `BAD_ID`, `ALREADY_ENROLLED`.
    """
    settings = TEMPLATE.format(listen=listen, address=address).encode("utf-8")
    parse_config(settings)  # before anything is made
    share = scalar_from(os.urandom(64))
    enrolment = enrol(
        folder,
        role="custodian",
        participant_id=custodian_id,
        title=title,
        custody=Custody(share, address),
    )
    write_private(folder / "kek", b64url(os.urandom(KEY_BYTES)).encode("ascii"))
    (folder / "keys").mkdir(mode=0o700)
    KeyStore(folder / "keys", load_key_encryption(folder / "kek")).write(SHARE, share)
    (folder / FILE_NAME).write_bytes(settings)
    return enrolment


def join(folder: Path, admission: bytes, *, root_kid: str) -> OprfKey:
    """Put an admission to use; gives the OPRF key that the share is part of.

    Raises:
        Malformed, VerificationFailed: as `credproof.home.join`; `OTHER_SHARE`.
        DataLoss: the share cannot be read.
    """
    directory = CustodianDirectory(folder)
    own = (public_key(directory.share()), directory.config.address)

    def require(trust: Trust) -> None:
        if own not in [(share.public, share.address) for share in trust.oprf_key.shares]:
            raise VerificationFailed(
                "OTHER_SHARE", "the trust bundle names another share or address: let it be admitted"
            )

    home = homes.join(folder, admission, root_kid=root_kid, now=now(), require=require)
    return home.trust(at=0).oprf_key


def renew(folder: Path) -> bytes:
    """Another enrolment with the same keys: for a new certificate, or at another address.

    Raises:
        Malformed: `NO_CUSTODIAN`, `NO_PARTICIPANT` before it has joined.
        DataLoss: the share cannot be read.
    """
    directory = CustodianDirectory(folder)
    home = directory.home()
    own = home.trust(at=0).participants.get(home.settings.id)
    if own is None or own.role != "custodian":
        raise Malformed("BAD_HOME", "the trust bundle kept here does not name this custodian")
    custody = Custody(directory.share(), directory.config.address)
    return enrol_again(
        folder, role="custodian", participant_id=own.id, title=own.title, custody=custody
    )
