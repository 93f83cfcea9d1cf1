"""A service's directory: what lies where, and how its parts are loaded.

credproof.toml     settings                        kek             key-encryption key
keys/              private keys, encrypted         tls/            certificates
log.db             log and state                   vault.db        data keys of borrowers
high-water         the newest signed checkpoint    witnessed       the newest cosigned one
witnesses.json     what each witness said last    disproof       what shows that the log is another
lock               held while in use               tuf/            metadata of the trust bundle
offline-root/      the root key: move it away      operator/       the operator's own home
running.json       the addresses while it runs  operator-2/     another person's: hand it over
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final

from credproof.attestation.sealing import SealingKey
from credproof.base.encoding import parse_b64url, parse_json
from credproof.base.errors import Conflict, DataLoss, Malformed
from credproof.base.keys import Ed25519Signer, PublicKey, parse_jwk
from credproof.log.checkpoint import VerifiedCheckpoint
from credproof.log.cosignature import MlDsaCosigner
from credproof.log.note import NoteSigner
from credproof.log.timestamp import TimestampAuthority, parse_certificates, require_root
from credproof.verification.trust import Trust
from sqlalchemy import Engine

from credproof_server.authority import Authority
from credproof_server.conduct.rules import Rules, parse_rules
from credproof_server.config import ServiceConfig, TimestampSource, load_config
from credproof_server.log import witnesses
from credproof_server.log.disproof import DisproofFile
from credproof_server.log.high_water import HighWater
from credproof_server.log.published import Published
from credproof_server.log.said import SaidFile
from credproof_server.log.sequencer import Sequencer
from credproof_server.log.state import load_trust
from credproof_server.log.timestamps import Asked, Timestamping
from credproof_server.service.core import Core, ServiceKeys
from credproof_server.service.directory_key import DirectoryKey
from credproof_server.service.distribution import Distribution
from credproof_server.storage import engine as engines
from credproof_server.storage import stamps, transfer
from credproof_server.storage.keystore import KeyStore, load_key_encryption
from credproof_server.storage.metadata import MetadataFiles
from credproof_server.storage.vault import Vault

ROOT_KEY: Final = "offline-root/root.key"
OPERATOR: Final = "operator"
OPERATORS: Final = (OPERATOR, "operator-2")
"""Who approves of policies from the start; the second home is for another person."""
HIGH_WATER: Final = "high-water"
WITNESSED: Final = "witnessed"
SAID: Final = "witnesses.json"
"""What each witness said last: for the operator's eyes, it decides nothing."""
DISPROOF: Final = "disproof"
"""What a witness showed that the log does not cover: nothing is signed while it stands."""
LOG_COSIGNER: Final = "log-ml-dsa-44"
"""The name of the log's ML-DSA-44 key, a seed of 32 bytes; not every log has one."""
RUNNING: Final = "running.json"
DATABASES: Final = {engines.MAIN: "log.db", engines.VAULT: "vault.db"}
"""The file of each store, unless the settings name another one."""
METADATA: Final = "tuf"
"""The folder of TUF metadata."""
DIRECTORY_KEY: Final = "directory"
ORIGIN_MARK: Final = "new-origin.json"
"""There while the log gets a new origin: nothing may be signed before that is done."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a service's directory alone; it may lack everything else.

    Raises:
        Conflict: `IN_USE` when a service runs on it.
    """
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Conflict("IN_USE", "a service runs on this directory") from error
    try:
        yield
    finally:
        os.close(descriptor)


class ServiceDirectory:
    """The files of one service."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: ServiceConfig = load_config(folder)
        self.key_encryption = load_key_encryption(folder / "kek")
        self.keys = KeyStore(folder / "keys", self.key_encryption)

    def locked(self) -> AbstractContextManager[None]:
        """As the function `locked`."""
        return locked(self.folder)

    def in_use(self) -> bool:
        """Whether a service runs on this directory."""
        try:
            with self.locked():
                return False
        except Conflict:
            return True

    def addresses(self) -> tuple[str, str]:
        """Where participants and borrowers connect: as it runs, else as it is configured."""
        if not self.in_use():
            return self.config.participants_listen, self.config.borrowers_listen
        try:
            running = json.loads((self.folder / RUNNING).read_text("utf-8"))
            return running["participants"], running["borrowers"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataLoss(
                "NO_ADDRESSES", f"{RUNNING} does not tell where the service listens: restart it"
            ) from error

    def engine(self, store: str) -> Engine:
        """The engine of the main store or of the vault, which must be there.

        Raises:
            DataLoss: `DATABASE_MISSING`.
        """
        storage = self.config.storage
        urls = {engines.MAIN: storage.main_url, engines.VAULT: storage.vault_url}
        url = urls[store] or f"sqlite:///{self.folder / DATABASES[store]}"
        engines.require_there(url)
        return engines.connect(url)

    def log_head(self) -> tuple[int, bytes]:
        """Size and root of the stored log, as last committed; also when it cannot be served."""
        engine = self.engine(engines.MAIN)
        try:
            with engines.readable(), engine.connect() as connection:
                size, root = transfer.size_and_root(connection)
        finally:
            engine.dispose()
        return size, root or b""

    def signed(self) -> VerifiedCheckpoint | None:
        """The newest of `marks`, if there is one."""
        return max(self.marks(), key=lambda seen: seen.tree_size, default=None)

    def marks(self) -> list[VerifiedCheckpoint]:
        """What was signed, as high-water mark and disproof tell it.

        Raises:
            DataLoss: `HIGH_WATER_DAMAGED`, `DISPROOF_DAMAGED`.
        """
        key = self.log_signer().verifier_key
        files = (HighWater(self.folder / HIGH_WATER), DisproofFile(self.folder / DISPROOF))
        return [seen for seen in (file.newest(key) for file in files) if seen is not None]

    def stored_trust(self) -> Trust:
        """The newest trust bundle as it is stored, also of a service that does not start.

        Raises:
            DataLoss: `NO_TRUST`, `LOG_DAMAGED`, and as `engine`.
        """
        engine = self.engine(engines.MAIN)
        try:
            with engines.readable(), engine.connect() as connection:
                trust = load_trust(connection, self.distribution().roots)
        finally:
            engine.dispose()
        if trust is None:
            raise DataLoss("NO_TRUST", "the service has no trust bundle")
        return trust

    def distribution(self) -> Distribution:
        """How the trust bundle is given out.

        Raises:
            DataLoss: `ROOT_NOT_READ`.
        """
        try:
            first = parse_jwk(parse_json((self.folder / "root.json").read_bytes()))
        except (OSError, Malformed) as error:
            raise DataLoss("ROOT_NOT_READ", "root.json does not hold the root's key") from error
        return Distribution(MetadataFiles(self.folder / METADATA), first, self.keys, now)

    def root(self) -> PublicKey:
        """The public key of the offline root: the newest that signs trust bundles."""
        return self.distribution().roots[-1]

    def root_signer(
        self, path: Path | None = None, public: PublicKey | None = None
    ) -> Ed25519Signer:
        """The root's private key, wherever the operator keeps it; another one by `public`.

        Raises:
            Malformed: `NO_ROOT_KEY`, `OTHER_ROOT_KEY`.
        """
        try:
            text = (path or self.folder / ROOT_KEY).read_text("ascii").strip()
        except FileNotFoundError as error:
            message = "the root key is not there: name it with --root-key"
            raise Malformed("NO_ROOT_KEY", message) from error
        except UnicodeDecodeError as error:
            raise Malformed("NO_ROOT_KEY", "the file is no root key") from error
        signer = Ed25519Signer(parse_b64url(text, size=32))
        if signer.public != (public or self.root()):
            raise Malformed("OTHER_ROOT_KEY", "this is not the root key of this service")
        return signer

    def authority(self) -> Authority:
        """The certificate authority."""
        return Authority(self.keys.read("authority"), self.certificate("ca"))

    def certificate(self, name: str) -> bytes:
        """A certificate, as PEM."""
        return (self.folder / "tls" / f"{name}.crt").read_bytes()

    def service_keys(self) -> ServiceKeys:
        return ServiceKeys(
            sealing=SealingKey(self.keys.read("sealing")),
            answer=Ed25519Signer(self.keys.read("answer")),
            oprf=self.keys.read("oprf"),
            index=self.keys.read("index"),
            directory=DirectoryKey(self.keys.read(DIRECTORY_KEY)),
        )

    def rules(self) -> Rules:
        """The rules of misuse: those that the settings name, else what ships.

        Raises:
            Malformed: `NO_RULES`, or as `parse_rules`; the message names the file.
        """
        name = self.config.misuse_rules
        if not name:
            return shipped_rules()
        try:
            return parse_rules((self.folder / name).read_bytes())
        except OSError as error:
            raise Malformed("NO_RULES", f"cannot read the rules of misuse in {name}") from error
        except Malformed as error:
            raise type(error)(error.reason, f"{name}: {error.message}") from error

    def timestamp_authorities(self) -> tuple[Asked, ...]:
        """Who is asked for timestamps, each with the certificates that it is believed by.

        Raises:
            Malformed: `NO_CERTIFICATES`, or as `parse_certificates` and `require_root`; the
                message names the file.
        """
        return tuple(self._authority(source) for source in self.config.timestamps.authorities)

    def _authority(self, source: TimestampSource) -> Asked:
        name = source.certificates
        try:
            certificates = parse_certificates((self.folder / name).read_bytes())
            require_root(certificates)
        except OSError as error:
            message = f"cannot read the certificates of a timestamp authority in {name}"
            raise Malformed("NO_CERTIFICATES", message) from error
        except Malformed as error:
            raise type(error)(error.reason, f"{name}: {error.message}") from error
        authority = TimestampAuthority(source.name, certificates, source.policy)
        return Asked(authority, source.url)

    def log_signer(self) -> NoteSigner:
        return NoteSigner(self.config.log_origin, Ed25519Signer(self.keys.read("log")))

    def log_cosigner(self) -> MlDsaCosigner | None:
        """The log's own ML-DSA-44 key, under its present origin."""
        if not self.keys.has(LOG_COSIGNER):
            return None
        return MlDsaCosigner(self.config.log_origin, self.keys.read(LOG_COSIGNER))

    def log_cosigner_vkey(self) -> str:
        """Its public key as the trust bundle names it; empty if there is none."""
        cosigner = self.log_cosigner()
        return str(cosigner.key) if cosigner else ""

    def open_core(self) -> Core:
        """The service without its network. The caller must hold the lock, and close it.

        Raises:
            Conflict: `UPGRADE_NEEDED`, `ORIGIN_UNFINISHED`, `NO_DIRECTORY`.
            Malformed: bad rules of misuse, as `rules`; as `timestamp_authorities`.
            DataLoss: `DATABASE_MISSING`, `LOG_BEHIND`, `LOG_FORKED`, `LOG_DAMAGED`,
                `NO_HIGH_WATER`, `DISPROOF_DAMAGED`, a missing key; witnesses are asked too,
                and one that does not answer is passed over.
        """
        if (self.folder / ORIGIN_MARK).exists():
            raise Conflict(
                "ORIGIN_UNFINISHED", "a new origin was begun: run credproof restore --new-origin"
            )
        return self._open()

    def open_unfinished(self) -> Core:
        """As `open_core`, while the log gets a new origin."""
        return self._open(is_new_origin=True)

    def _require_directory(self) -> None:
        """What was logged without its place in the directory cannot be shown to be complete."""
        if not self.keys.has(DIRECTORY_KEY):
            raise Conflict(
                "NO_DIRECTORY",
                "this service was made before there was a directory, or its key is lost: put"
                " keys/directory.key back, or make a new service with credproof init",
            )

    def _open(self, *, is_new_origin: bool = False) -> Core:
        rules, asked = self.rules(), self.timestamp_authorities()
        self._require_directory()
        main, vault = self.engine(engines.MAIN), self.engine(engines.VAULT)
        high_water = HighWater(self.folder / HIGH_WATER)
        disproof = DisproofFile(self.folder / DISPROOF)
        distribution = self.distribution()
        with engines.readable():
            engines.require_current(main, engines.MAIN)
            engines.require_current(vault, engines.VAULT)
            signer = self.log_signer()
            key = signer.verifier_key
            sequencer = Sequencer(
                main,
                signer,
                high_water,
                now,
                lambda: distribution.roots,
                is_new_origin=is_new_origin,
                before_signing=lambda state: witnesses.refuse_behind(state, key, disproof),
            )
            disproof.forget()  # the log covers it, and so does the mark now
            with main.connect() as connection:
                stamped = stamps.newest(connection)
        kept, said = HighWater(self.folder / WITNESSED), SaidFile(self.folder / SAID)
        every_s = self.config.timestamps.every_s
        return Core(
            engine=main,
            vault=Vault(vault, self.key_encryption),
            sequencer=sequencer,
            published=Published(kept, said, disproof, sequencer, key, self.log_cosigner(), now),
            timestamping=Timestamping(sequencer, asked, every_s, stamped, now),
            keys=self.service_keys(),
            distribution=distribution,
            quotas=self.config.quotas,
            rules=rules,
            clock=now,
        )


def shipped_rules() -> Rules:
    """The rules of misuse that ship."""
    return parse_rules((files("credproof_server") / "data" / "misuse.yaml").read_bytes())


def now() -> int:
    """The present time in whole seconds."""
    return int(time.time())
