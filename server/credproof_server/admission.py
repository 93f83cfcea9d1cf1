"""Admitting participants: a certificate, and a new trust bundle that names their key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

from credproof.attestation.oprf_key import OprfKey, Share
from credproof.base.closing import Closing
from credproof.base.errors import Conflict
from credproof.base.keys import DatedKey, Ed25519Signer, Signer
from credproof.base.limits import CLOCK_SKEW_S
from credproof.channel import call, connect
from credproof.enrolment import Enrolment, verify_enrolment
from credproof.home import Admission, Home, Settings
from credproof.updating.metadata import SNAPSHOT, TARGETS, make_targets, next_targets
from credproof.v1 import registry_service_pb2 as pb
from credproof.v1.registry_service_pb2_grpc import RegistryServiceStub
from credproof.verification.bundle import TrustBundle
from credproof.verification.participant import NEVER, Licence, Participant, Role
from credproof.verification.trust import Trust, sign_trust, verify_trust
from credproof.wire import trust as trust_wire
from credproof.wire.trust import package_of
from cryptography.hazmat.primitives.asymmetric import ec

from credproof_server.directory import OPERATOR, ServiceDirectory, now
from credproof_server.service.core import Core
from credproof_server.service.distribution import Items
from credproof_server.service.raising import LiftThrottle
from credproof_server.service.registry import own_trust, publishing

TRUST_LIFE_S = 365 * 24 * 3600
"""How long a trust bundle is valid when we sign it."""


NOTHING: Final[Items] = MappingProxyType({})

SAID: Final = ("operator", "custodian")
"""Roles that change what others rely on: nobody gets one by the way."""


class TrustChannel(Protocol):
    """Where the bundle in force is read, a new one published, and throttles are lifted: the
    service, or its files."""

    def current(self) -> Trust: ...

    def publish(self, trust: Trust, root: Signer | None = None, key_sets: Items = NOTHING) -> None:
        """Put a bundle in force, with targets by `root`; by DIR/offline-root if not given.

        `key_sets` come into force with it, by role.
        """

    def metadata(self, role: str) -> bytes:
        """The metadata of a role in force; empty when there is none."""

    def publish_metadata(self, items: Items) -> None:
        """Metadata for the bundle in force, by role."""

    def lift_throttle(self, participant_id: str) -> None: ...


def admit(
    folder: Path,
    enrolment: bytes,
    *,
    root_key: Path | None = None,
    schemas: tuple[str, ...] = (),
    role: Role | None = None,
    licence: Licence | None = None,
    certified: Mapping[str, int] | None = None,
) -> Admission:
    """Admit a participant; a provider may attest `schemas` (ids; all that are in force if empty).

    A lender is refused every question without a `licence` and without having `certified` its
    purpose: until when, in whole seconds.

    A running service gets the new trust bundle by RPC, as from its operator. Whoever was admitted
    with the very same keys gets another admission, and nothing changes but a custodian's address.
    An applicant chooses its role: `role` is what the operator expects, and must be said for another
    operator and for a custodian, whose share makes everybody's pseudonym another one.

    Raises:
        Malformed, VerificationFailed: the enrolment is bad.
        Conflict: `ALREADY_ADMITTED`, `OTHER_ROLE`, `NOT_A_LENDER`; `PSEUDONYMS_IN_USE` for a
            custodian when pseudonyms were made.
        Unreachable: a service runs, but does not answer.
    """
    directory = ServiceDirectory(folder)
    applicant = verify_enrolment(enrolment, now=now())
    if applicant.role != (role or ("" if applicant.role in SAID else applicant.role)):
        message = f"the enrolment asks for the role {applicant.role}: if that is right, say --role"
        raise Conflict("OTHER_ROLE", message)
    with trust_channel(directory) as channel:
        current = channel.current()
    known = current.participants.get(applicant.id)
    if known is not None and is_listed(known, applicant):
        return admission_for(directory, applicant, _moved(directory, current, applicant, root_key))

    if applicant.role != "lender" and (licence or certified):
        raise Conflict("NOT_A_LENDER", "only lenders carry a licence and certify purposes")

    def extended(current: Trust) -> TrustBundle:
        fresh = _participant(current, applicant, schemas)
        fresh = replace(fresh, licence=licence, certified=dict(certified or {}))
        bundle = current.bundle
        keys = bundle.oprf_keys if applicant.share is None else _shared(current, applicant.share)
        return replace(bundle, participants=(*bundle.participants, fresh), oprf_keys=keys)

    return admission_for(directory, applicant, change_bundle(directory, extended, root_key))


def is_listed(known: Participant, applicant: Enrolment) -> bool:
    """Whether an applicant is this participant, by a key that has not ended."""
    key = known.key(applicant.key.kid) if known.role == applicant.role else None
    return key is not None and now() < key.not_after


def _shared(current: Trust, share: Share) -> tuple[OprfKey, ...]:
    """The OPRF keys, with a new one that this share is part of."""
    return (*current.bundle.oprf_keys, OprfKey((*current.oprf_key.shares, share)))


def _moved(
    directory: ServiceDirectory, current: Trust, applicant: Enrolment, root_key: Path | None
) -> Trust:
    """The trust with a custodian at the address that it enrols now; its share must be the same.

    Raises:
        Conflict: `OTHER_SHARE`.
    """
    share = applicant.share
    if share is None or share in current.oprf_key.shares:
        return current
    if share.public not in [known.public for known in current.oprf_key.shares]:
        raise Conflict("OTHER_SHARE", "the custodian was admitted with another share")

    def moved(present: Trust) -> TrustBundle:
        keys = [
            OprfKey(tuple(share if s.public == share.public else s for s in key.shares))
            for key in present.bundle.oprf_keys
        ]
        return replace(present.bundle, oprf_keys=tuple(keys))

    return change_bundle(directory, moved, root_key)


def set_status(
    folder: Path, participant_id: str, status: str, *, root_key: Path | None = None
) -> None:
    """Suspend a participant, or make it active again; from now on.

    A suspended one is refused on every call; of a suspended provider nothing that it ever
    attested counts in new answers.

    Raises:
        Conflict: `NO_SUCH_PARTICIPANT`, `NO_CHANGE`, `OPERATOR_STAYS`, `CUSTODIAN_STAYS`.
        Unreachable: a service runs, but does not answer.
    """
    directory = ServiceDirectory(folder)

    def changed(current: Trust) -> TrustBundle:
        if require_changeable(current.participants.get(participant_id)).status == status:
            message = f"the participant is {status} already: nothing was changed"
            raise Conflict("NO_CHANGE", message)
        return with_participant(current, participant_id, status=status, since=now())

    change_bundle(directory, changed, root_key)


def lift_throttle(folder: Path, participant_id: str) -> None:
    """End what throttles a participant: its conduct was looked at, or the alarm was false.

    Raises:
        Conflict: `NO_SUCH_PARTICIPANT`, `NOT_THROTTLED`.
        Unreachable: a service runs, but does not answer.
    """
    with trust_channel(ServiceDirectory(folder)) as channel:
        channel.lift_throttle(participant_id)


def require_changeable(participant: Participant | None) -> Participant:
    """A participant that the service can do without for a while.

    Raises:
        Conflict: `NO_SUCH_PARTICIPANT`, `OPERATOR_STAYS`, `CUSTODIAN_STAYS`.
    """
    if participant is None:
        raise Conflict(
            "NO_SUCH_PARTICIPANT", "nobody of this id was admitted: see credproof participant list"
        )
    if participant.id == OPERATOR:
        raise Conflict("OPERATOR_STAYS", "without its operator nobody could change the registry")
    if participant.role == "custodian":
        raise Conflict("CUSTODIAN_STAYS", "without its share nobody could make a pseudonym")
    return participant


def with_participant(current: Trust, participant_id: str, **changes: Any) -> TrustBundle:
    """The bundle with one participant changed."""
    participants = tuple(
        replace(p, **changes) if p.id == participant_id else p for p in current.bundle.participants
    )
    return replace(current.bundle, participants=participants)


def participants(folder: Path) -> tuple[Participant, ...]:
    """All participants that were ever admitted, in that order."""
    with trust_channel(ServiceDirectory(folder)) as channel:
        return channel.current().bundle.participants


def change_bundle(
    directory: ServiceDirectory,
    change: Callable[[Trust], TrustBundle],
    root_key: Path | None = None,
    documents: tuple[bytes, ...] = (),
    key_sets: Items = NOTHING,
) -> Trust:
    """Put the next trust bundle in force: what `change` makes of the present one, dated anew.

    `documents` are new ones that it pins; `key_sets` those that providers signed for it, by role.
    """
    with trust_channel(directory) as channel:
        current = channel.current()
        bundle = renewed(change(current))
        known = tuple(dict.fromkeys((*current.documents, *documents)))
        signer = directory.root_signer(root_key)
        trust = signed_bundle(signer, bundle, known)
        channel.publish(trust, signer, key_sets)
    return trust


def renewed(bundle: TrustBundle) -> TrustBundle:
    """A bundle that was changed, as the next version, dated anew."""
    time = now()
    version = bundle.version + 1
    return replace(bundle, version=version, issued_at=time, expires_at=time + TRUST_LIFE_S)


def signed_bundle(root: Ed25519Signer, bundle: TrustBundle, documents: tuple[bytes, ...]) -> Trust:
    """A bundle signed by the root, then verified as everybody else will."""
    token = sign_trust(root, bundle)
    return verify_trust(token, documents, root=root.public, at=bundle.issued_at)


def _participant(current: Trust, applicant: Enrolment, schemas: tuple[str, ...]) -> Participant:
    if applicant.id in current.participants:
        raise Conflict(
            "ALREADY_ADMITTED",
            "a participant of this id is admitted already, with another key",
        )
    allowed = [current.schema(name).digest for name in schemas] or current.bundle.schemas
    return participant_of(applicant, tuple(allowed))


def participant_of(applicant: Enrolment, schemas: tuple[bytes, ...] = ()) -> Participant:
    """An applicant as the trust bundle names it from now on."""
    time = now()
    return Participant(
        id=applicant.id,
        role=applicant.role,
        title=applicant.title,
        status="active",
        keys=(DatedKey(applicant.key, time - CLOCK_SKEW_S, NEVER),),
        schemas=schemas if applicant.role == "provider" else (),
        since=time,
    )


def admission_for(directory: ServiceDirectory, applicant: Enrolment, trust: Trust) -> Admission:
    """What an applicant needs whose key the trust bundle names."""
    key = applicant.csr.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey), "verify_enrolment takes no other"
    authority, domain = directory.authority(), directory.config.trust_domain
    certificate = authority.participant(
        key,
        domain=domain,
        role=applicant.role,
        name=applicant.id,
        kid=applicant.key.kid,
        now=now(),
    )
    participants, borrowers = directory.addresses()
    settings = Settings(
        id=applicant.id,
        role=applicant.role,
        address=participants,
        borrowers_address=borrowers,
        domain=domain,
        root=directory.root(),
    )
    return Admission(settings, certificate, authority.certificate, package_of(trust))


@contextmanager
def trust_channel(directory: ServiceDirectory) -> Iterator[TrustChannel]:
    """The service's files when nothing runs on them, else the running service itself."""
    if directory.in_use():
        with _Service(directory) as service:
            yield service
        return
    with directory.locked():
        core = directory.open_core()
        try:
            yield _Files(directory, core)
        finally:
            core.close()


def targets_for(trust: Trust, newest: Callable[[str], bytes], root: Signer) -> Items:
    """The targets that name a bundle, after the `newest`; nothing for a service without any."""
    snapshot = newest(SNAPSHOT)
    if not snapshot:
        return {}
    return {TARGETS: make_targets(trust, next_targets(newest(TARGETS), snapshot, now()), root)}


def publish_signed(core: Core, trust: Trust, root: Signer, key_sets: Items = NOTHING) -> None:
    """Put a bundle in force in a service's files, and give it out from now on."""
    targets = targets_for(trust, lambda role: core.distribution.get(role, 0), root)
    items = {**targets, **key_sets}
    core.sequencer.submit(publishing(core, OPERATOR, trust, items)).result()
    core.distribution.renew(trust)


def _messages(items: Items) -> list[pb.RoleMetadata]:
    return [pb.RoleMetadata(role=role, metadata=data) for role, data in items.items()]


class _Files:
    """The bundle in the service's own database."""

    def __init__(self, directory: ServiceDirectory, core: Core) -> None:
        self._directory = directory
        self._core = core

    def current(self) -> Trust:
        return self._core.trust

    def publish(self, trust: Trust, root: Signer | None = None, key_sets: Items = NOTHING) -> None:
        own = own_trust(self._core, trust.token, trust.documents)
        publish_signed(self._core, own, root or self._directory.root_signer(), key_sets)

    def metadata(self, role: str) -> bytes:
        return self._core.distribution.get(role, 0)

    def publish_metadata(self, items: Items) -> None:
        self._core.distribution.accept(items, self._core.trust)
        self._core.distribution.renew(self._core.trust)

    def lift_throttle(self, participant_id: str) -> None:
        self._core.sequencer.submit(LiftThrottle(OPERATOR, participant_id)).result()


class _Service(Closing):
    """The bundle of a running service, which the operator reaches as a participant."""

    def __init__(self, directory: ServiceDirectory) -> None:
        self._directory = directory
        home, address = Home(directory.folder / OPERATOR), directory.addresses()[0]
        self._channel = connect(home, address=address)
        self._stub = RegistryServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def current(self) -> Trust:
        reply = call(self._stub.GetTrustBundle, pb.GetTrustBundleRequest())
        roots = self._directory.distribution().roots
        # Its dates are left aside: what has expired, the operator must be able to renew.
        return trust_wire.from_proto(reply.package).verify(roots, at=0)

    def publish(self, trust: Trust, root: Signer | None = None, key_sets: Items = NOTHING) -> None:
        targets = targets_for(trust, self.metadata, root or self._directory.root_signer())
        package, metadata = package_of(trust).to_proto(), _messages({**targets, **key_sets})
        request = pb.PublishTrustBundleRequest(package=package, metadata=metadata)
        call(self._stub.PublishTrustBundle, request)

    def metadata(self, role: str) -> bytes:
        request = pb.GetTrustMetadataRequest(role=role)
        return bytes(call(self._stub.GetTrustMetadata, request).metadata)

    def publish_metadata(self, items: Items) -> None:
        request = pb.PublishTrustMetadataRequest(items=_messages(items))
        call(self._stub.PublishTrustMetadata, request)

    def lift_throttle(self, participant_id: str) -> None:
        call(self._stub.LiftThrottle, pb.LiftThrottleRequest(participant=participant_id))
