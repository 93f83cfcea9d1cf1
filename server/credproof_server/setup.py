"""Making a service: keys, certificates, databases, the first trust bundle."""

from __future__ import annotations

import os
from pathlib import Path

from credproof import standard
from credproof.attestation.oprf_key import OprfKey, Share
from credproof.attestation.sealing import SECRET_BYTES, SealingKey
from credproof.base.encoding import b64url, canonical_json
from credproof.base.errors import Conflict
from credproof.base.group import scalar_from
from credproof.base.keys import DatedKey, Ed25519Signer
from credproof.base.limits import CLOCK_SKEW_S
from credproof.base.oprf import public_key
from credproof.enrolment import Enrolment, enrol, verify_enrolment
from credproof.files import write_private
from credproof.home import join, signing_key
from credproof.log.note import VerifierKey
from credproof.verification.bundle import PolicyPin, TrustBundle
from credproof.verification.participant import NEVER
from credproof.verification.policy import Policy
from credproof.verification.proposal import Proposal

from credproof_server.admission import (
    admission_for,
    participant_of,
    publish_signed,
    signed_bundle,
)
from credproof_server.authority import Authority, new_key
from credproof_server.config import FILE_NAME, TEMPLATE, parse_config
from credproof_server.directory import (
    DATABASES,
    DIRECTORY_KEY,
    LOG_COSIGNER,
    OPERATORS,
    ROOT_KEY,
    ServiceDirectory,
    now,
)
from credproof_server.roots import make_first
from credproof_server.storage import engine as engines
from credproof_server.storage.keystore import KEY_BYTES, KeyStore, load_key_encryption

TRUST_LIFE_S = 365 * 24 * 3600
"""How long a trust bundle is valid when we sign it."""


def init(
    folder: Path,
    *,
    domain: str,
    participants_listen: str,
    borrowers_listen: str,
    ml_dsa: bool = False,
) -> None:
    """Make a new service in an empty directory; with `ml_dsa` its log signs by ML-DSA-44 too.

    Raises:
        Malformed: `BAD_CONFIG`.
        Conflict: `NOT_EMPTY`.
    """
    settings = TEMPLATE.format(
        trust_domain=domain,
        participants_listen=participants_listen,
        borrowers_listen=borrowers_listen,
    )
    parse_config(settings.encode("utf-8"))  # before anything is made
    if folder.exists() and any(folder.iterdir()):
        raise Conflict("NOT_EMPTY", "the directory is not empty: name a new one")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in ("keys", "tls", "offline-root"):
        (folder / name).mkdir(mode=0o700)
    (folder / FILE_NAME).write_text(settings, "utf-8")
    _make_keys(folder, domain, ml_dsa=ml_dsa)
    _make_databases(folder)
    _make_trust(ServiceDirectory(folder))


def upgrade(folder: Path) -> None:
    """Bring the databases of a service to the newest migration. It makes none: that is for `init`.

    Raises:
        Conflict: `IN_USE`.
        DataLoss: `DATABASE_MISSING`, `DATABASE_DAMAGED`; then nothing was changed.
    """
    directory = ServiceDirectory(folder)
    with directory.locked(), engines.readable():
        found = {store: directory.engine(store) for store in DATABASES}
        for engine in found.values():
            engines.require_made(engine)
        for store, engine in found.items():
            engines.migrate(engine, store)
            engine.dispose()


def _make_databases(folder: Path) -> None:
    for store, name in DATABASES.items():
        engine = engines.connect(engines.sqlite_url(folder / name))
        engines.migrate(engine, store)
        engine.dispose()


def _make_keys(folder: Path, domain: str, *, ml_dsa: bool) -> None:
    write_private(folder / "kek", b64url(os.urandom(KEY_BYTES)).encode("ascii"))
    keys = KeyStore(folder / "keys", load_key_encryption(folder / "kek"))
    root_seed = os.urandom(32)
    write_private(folder / ROOT_KEY, b64url(root_seed).encode("ascii"))
    root = Ed25519Signer(root_seed).public
    write_private(folder / "root.json", canonical_json(root.jwk()))
    keys.write("log", os.urandom(32))
    if ml_dsa:
        keys.write(LOG_COSIGNER, os.urandom(32))
    keys.write("answer", os.urandom(32))
    keys.write("index", os.urandom(32))
    keys.write("sealing", os.urandom(SECRET_BYTES))
    keys.write("oprf", scalar_from(os.urandom(64)))
    keys.write(DIRECTORY_KEY, scalar_from(os.urandom(64)))
    authority = Authority.create(domain, now())
    keys.write("authority", authority.key)
    write_private(folder / "tls" / "ca.crt", authority.certificate)
    keys.write("server", new_key())
    directory = ServiceDirectory(folder)
    names = directory.config.host_names
    certificate = authority.server(keys.read("server"), names, now())
    write_private(folder / "tls" / "server.crt", certificate)


def _make_trust(directory: ServiceDirectory) -> None:
    """The first trust bundle: two operators, and what ships, approved by both of them."""
    keys, time = directory.keys, now()
    signer, domain = directory.log_signer(), directory.config.trust_domain
    schemas = standard.schemas().values()
    policies, texts = standard.policies(), standard.texts()
    since = time - CLOCK_SKEW_S
    operators = {name: _enrol_operator(directory.folder, name) for name in OPERATORS}
    bundle = TrustBundle(
        domain=domain,
        version=1,
        issued_at=time,
        expires_at=time + TRUST_LIFE_S,
        log_vkey=str(VerifierKey(signer.name, signer.signer.public)),
        answer_keys=(DatedKey(Ed25519Signer(keys.read("answer")).public, since, NEVER),),
        sealing_keys=(SealingKey(keys.read("sealing")).public.data,),
        oprf_keys=(OprfKey((Share(public_key(keys.read("oprf"))),)),),
        participants=tuple(participant_of(applicant) for applicant in operators.values()),
        schemas=tuple(schema.digest for schema in schemas),
        policies=tuple(_approved(directory, policy, since) for policy in policies),
        directory_key=public_key(keys.read(DIRECTORY_KEY)),
        purposes=standard.purposes(),
        texts=tuple(text.digest for text in texts),
        log_cosigner=directory.log_cosigner_vkey(),
    )
    documents = [schema.document for schema in schemas]
    documents += [policy.document for policy in policies] + [text.document for text in texts]
    root = directory.root_signer()
    trust = signed_bundle(root, bundle, tuple(documents))
    with directory.locked():
        core = directory.open_core()
        try:
            publish_signed(core, trust, root)
            make_first(directory, core, root)
        finally:
            core.close()
    for name, applicant in operators.items():
        admission = admission_for(directory, applicant, trust).to_bytes()
        join(directory.folder / name, admission, root_kid=None, now=now())


def _enrol_operator(folder: Path, name: str) -> Enrolment:
    title = name.replace("-", " ").capitalize()
    enrolment = enrol(folder / name, role="operator", participant_id=name, title=title)
    return verify_enrolment(enrolment, now=now())


def _approved(directory: ServiceDirectory, policy: Policy, since: int) -> PolicyPin:
    """A shipped policy in force without end; both operators' keys are still here to approve it."""
    proposal = Proposal(policy, PolicyPin(policy.ref, since, NEVER))
    for name in OPERATORS:
        signer = signing_key(directory.folder / name)
        domain = directory.config.trust_domain
        proposal = proposal.signed(signer, operator=name, domain=domain, now=now())
    return proposal.pin
