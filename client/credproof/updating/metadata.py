"""TUF metadata as it is made and read here. Format: `docs/PROTOCOL.md`, "The newest trust bundle".

python-tuf does the format, the signatures and their thresholds; this says what stands in it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from securesystemslib.signer import Key, Signature, SSlibKey
from securesystemslib.signer import Signer as TufSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from credproof.base.encoding import DAY_S, canonical_json
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.keys import PublicKey, Signer
from credproof.base.limits import (
    METADATA_BYTES_MAX,
    ROOT_METADATA_BYTES_MAX,
    TIMESTAMP_METADATA_BYTES_MAX,
    at_most,
)
from credproof.roots import BUNDLE_KEYS
from credproof.verification.participant import Participant, is_participant_id
from credproof.verification.trust import Trust

ROOT: Final = "root"
TARGETS: Final = "targets"
SNAPSHOT: Final = "snapshot"
TIMESTAMP: Final = "timestamp"
TOP: Final = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)
PREFIX: Final = "provider-"
"""How the roles of providers are called: this, and the provider's id."""
BUNDLE: Final = "trust.jwt"
"""The one target of the role `targets`: the text of the trust bundle."""

ROOT_LIFE_S: Final = 365 * DAY_S
"""How long a root is good: a year, as the bundle that it stands over."""
ROOT_LIFE_MAX_S: Final = 400 * DAY_S
"""Longest life of a root, as of a trust bundle: by then somebody must have looked at the keys."""
_ANEW: Final = "key_sets_anew"
"""The member of a root that says which providers begin anew, and since when."""
_BEFORE: Final = "before"
"""The member of a key set that names the version of the one before."""

KEY_SET_LIFE_S: Final = 3650 * DAY_S
"""How long a provider's key set is good: its silence must stop nobody, a newer one replaces it."""

_KINDS: Final[dict[str, Any]] = {ROOT: Root, SNAPSHOT: Snapshot, TIMESTAMP: Timestamp}
T = TypeVar("T", Root, Targets, Snapshot, Timestamp)


# -- roles and keys ------------------------------------------------------------------


def provider_role(provider: str) -> str:
    """The role under which a provider signs its own key set."""
    return f"{PREFIX}{provider}"


def provider_of(role: str) -> str | None:
    """Whose role it is; None for any other role."""
    name = role.removeprefix(PREFIX)
    return name if role.startswith(PREFIX) and is_participant_id(name) else None


def key_path(provider: str, key: PublicKey) -> str:
    """The target that stands for one key of a provider."""
    return f"{provider_role(provider)}/{key.kid}"


def is_role(role: str) -> bool:
    """Whether there is metadata of a role of this name."""
    return role in TOP or provider_of(role) is not None


def bytes_max(role: str) -> int:
    """How long metadata of a role may be."""
    if role == TIMESTAMP:
        return TIMESTAMP_METADATA_BYTES_MAX
    return METADATA_BYTES_MAX if role in (TARGETS, SNAPSHOT) else ROOT_METADATA_BYTES_MAX


def tuf_key(public: PublicKey) -> Key:
    """An Ed25519 key as TUF names it; its key id is our fingerprint."""
    assert public.alg == "EdDSA", "other keys sign no metadata"
    return SSlibKey(public.kid, "ed25519", "ed25519", {"public": public.data.hex()})


def public_key(key: Key) -> PublicKey:
    """A key of metadata as ours.

    Raises:
        Malformed: `BAD_METADATA` unless it is an Ed25519 key under its own fingerprint.
    """
    try:
        public = PublicKey("EdDSA", bytes.fromhex(key.keyval["public"]))
    except (KeyError, TypeError, ValueError) as error:
        raise _bad("holds another key than Ed25519") from error
    if (key.keytype, len(public.data), key.keyid) != ("ed25519", 32, public.kid):
        raise _bad("holds a key that is not Ed25519, or not named by its fingerprint")
    return public


class _Signing(TufSigner):
    """One of our signers, as python-tuf calls it."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    @property
    def public_key(self) -> Key:
        return tuf_key(self._signer.public)

    @classmethod
    def from_priv_key_uri(cls, *_: Any, **__: Any) -> TufSigner:
        raise NotImplementedError("keys are handed over, not named by a URI")

    def sign(self, payload: bytes) -> Signature:
        return Signature(self._signer.public.kid, self._signer.sign(payload).hex())


# -- reading and writing ---------------------------------------------------------------


def parse(data: bytes, kind: type[T], role: str) -> Metadata[T]:
    """Metadata of this kind; nothing in it is verified.

    Raises:
        Malformed: `BAD_METADATA`.
        LimitExceeded: `LIMIT_EXCEEDED`.
    """
    at_most(len(data), bytes_max(role), f"metadata of {role}")
    try:
        found = Metadata[T].from_bytes(data)
    except (RepositoryError, RecursionError) as error:
        raise _bad("is no TUF metadata") from error
    if not isinstance(found.signed, kind):
        raise _bad(f"is not of the role {role}")
    return found


def parse_any(data: bytes, role: str) -> Metadata[Any]:
    """As `parse`, of whatever kind the role has."""
    return parse(data, _KINDS.get(role, Targets), role)


def to_bytes(metadata: Metadata[Any]) -> bytes:
    """The content of a metadata file."""
    return metadata.to_bytes(JSONSerializer(compact=True))


def signed(content: T, signers: Iterable[Signer]) -> bytes:
    """A metadata file of this content, signed."""
    metadata = Metadata[T](content)
    for signer in signers:
        add_signature(metadata, signer)
    return to_bytes(metadata)


def add_signature(metadata: Metadata[Any], signer: Signer) -> None:
    """Sign metadata, beside who has signed it."""
    metadata.sign(_Signing(signer), append=True)


def require_signed(
    by: Root | Targets, role: str, metadata: Metadata[Any], *, keys: str = "those that may"
) -> None:
    """Metadata must bear as many signatures as the threshold of its role asks for.

    `keys` says in the error which keys must sign, and where it helps what to do.

    Raises:
        VerificationFailed: `TUF_NOT_SIGNED`.
    """
    try:
        found = by.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
        missing, unfit = found.missing, found.unsigned.keys() & metadata.signatures.keys()
    except ValueError:
        missing, unfit = 1, set()  # nobody may sign it
    if missing:
        message = f"the metadata of {role} lacks signatures: {missing} more by {keys}"
        if unfit:
            message += f" (those of {', '.join(sorted(unfit))} are of something else)"
        raise VerificationFailed("TUF_NOT_SIGNED", message)


def signers(root: Metadata[Root]) -> frozenset[str]:
    """The fingerprints of a root's own keys that have signed this very root.

    Raises:
        VerificationFailed: `DRAFT_CHANGED` when one of them signed something else.
    """
    result = root.signed.get_verification_result(ROOT, root.signed_bytes, root.signatures)
    if changed := result.unsigned.keys() & root.signatures.keys():
        message = f"the draft is not what {min(changed)} signed: draft it anew, and ask who did it"
        raise VerificationFailed("DRAFT_CHANGED", message)
    return frozenset(result.signed)


def is_signed_by(metadata: Metadata[Any], key: PublicKey) -> bool:
    """Whether this very key has signed metadata, whoever may."""
    found = metadata.signatures.get(key.kid)
    if found is None:
        return False
    try:
        key.verify(metadata.signed_bytes, bytes.fromhex(found.signature))
    except (VerificationFailed, ValueError):
        return False
    return True


def is_signed(by: Root | Targets, role: str, metadata: Metadata[Any]) -> bool:
    """Whether metadata bears the signatures that its role needs."""
    try:
        require_signed(by, role, metadata)
    except VerificationFailed:
        return False
    return True


def require_good(content: Root | Targets, now: int, role: str) -> None:
    """What is published must not have expired.

    Raises:
        VerificationFailed: `TUF_EXPIRED`.
    """
    if content.is_expired(date(now)):
        raise VerificationFailed("TUF_EXPIRED", f"the metadata of {role} has expired: sign it anew")


def require_sound(root: Root, now: int) -> None:
    """A root by which this service and its clients can go on.

    Raises:
        Malformed: `BAD_METADATA`.
        VerificationFailed: `TUF_EXPIRED`.
    """
    require_good(root, now, ROOT)
    if seconds(root.expires) > now + ROOT_LIFE_MAX_S:
        raise _bad("is a root that lasts for too long")
    if [keys_of(root, TARGETS)[-1].data.hex()] != bundle_key_list(root)[-1:]:
        raise _bad("is a root whose newest key for trust bundles does not sign the targets")
    one = [keys_of(root, role) for role in (TARGETS, SNAPSHOT, TIMESTAMP)]
    if not root.consistent_snapshot or any(len(keys) != 1 for keys in one) or one[1] != one[2]:
        raise _bad("is a root with more than one key for trust bundles, or online")
    providers_anew(root)
    keys_of(root, ROOT)


def seconds(time: dt.datetime) -> int:
    """A time of metadata in whole seconds."""
    return int(time.timestamp())


def date(time: int) -> dt.datetime:
    """A time in whole seconds as metadata has it."""
    return dt.datetime.fromtimestamp(time, dt.UTC)


def _bad(what: str) -> Malformed:
    return Malformed("BAD_METADATA", f"the file {what}")


# -- what stands in it -----------------------------------------------------------------


def first_root(
    bundle_key: PublicKey, others: Sequence[PublicKey], online: PublicKey, now: int
) -> Root:
    """The root of a new chain: the key that signs bundles and others, two of whom must sign."""
    persons = list(dict.fromkeys((bundle_key, *others)))
    root = Root(version=1, expires=date(now + ROOT_LIFE_S), consistent_snapshot=True)
    root.unrecognized_fields[BUNDLE_KEYS] = [bundle_key.data.hex()]
    for key in persons:
        root.add_key(tuf_key(key), ROOT)
    root.roles[ROOT].threshold = min(2, len(persons))
    root.add_key(tuf_key(bundle_key), TARGETS)
    for role in (SNAPSHOT, TIMESTAMP):
        root.add_key(tuf_key(online), role)
    return root


def next_root(root: Root, now: int) -> Root:
    """The same root once more: the next version, good for another year."""
    following = Root.from_dict(root.to_dict())
    following.version, following.expires = root.version + 1, date(now + ROOT_LIFE_S)
    return following


def bundle_key_list(root: Root) -> list[str]:
    """The keys that have signed trust bundles, in hexadecimal digits, oldest first.

    Raises:
        Malformed: `BAD_METADATA`.
    """
    found = root.unrecognized_fields.get(BUNDLE_KEYS)
    if not isinstance(found, list) or not all(isinstance(key, str) for key in found):
        raise _bad("is a root that does not say which keys sign trust bundles")
    return found


def set_bundle_key(root: Root, fresh: PublicKey) -> None:
    """Put another key in place of the one that signs bundles, also among those who sign roots."""
    (old,) = keys_of(root, TARGETS)
    for role in (ROOT, TARGETS):
        exchange(root, role, old, fresh)
    root.unrecognized_fields[BUNDLE_KEYS] = [*bundle_key_list(root), fresh.data.hex()]


def providers_anew(root: Root) -> Mapping[str, int]:
    """Providers that begin anew, and since when, in whole seconds: key sets of then bind nobody.

    Raises:
        Malformed: `BAD_METADATA`.
    """
    found = root.unrecognized_fields.get(_ANEW, {})
    if not isinstance(found, dict) or not all(type(since) is int for since in found.values()):
        raise _bad("is a root that does not say since when providers begin anew")
    return found


def anew_since(root: Root, provider: str) -> int:
    """Up to which time, in whole seconds, a provider's key sets bind nobody; 0 for never."""
    return providers_anew(root).get(provider, 0)


def begin_anew(root: Root, provider: str, now: int) -> None:
    """Let a provider that lost all its keys begin anew: what it signed until now binds nobody."""
    root.unrecognized_fields[_ANEW] = {**providers_anew(root), provider: now}


def exchange(root: Root, role: str, old: PublicKey, fresh: PublicKey) -> None:
    """Let another key sign a role, in place of one that may not be among its keys."""
    if old.kid in root.roles[role].keyids:
        root.revoke_key(old.kid, role)
    root.add_key(tuf_key(fresh), role)


def keys_of(root: Root | Targets, role: str) -> tuple[PublicKey, ...]:
    """The keys of a role, in the order of their names."""
    return tuple(public_key(root.get_key(k)) for k in sorted(root.get_delegated_role(role).keyids))


def make_targets(trust: Trust, version: int, signer: Signer) -> bytes:
    """Signed targets metadata that names a bundle, and lets each provider sign its own keys."""
    content = Targets(
        version=version,
        expires=date(trust.bundle.expires_at),
        targets={BUNDLE: TargetFile.from_data(BUNDLE, trust.token.encode("ascii"))},
        delegations=delegations(trust),
    )
    return signed(content, [signer])


def next_version(before: Targets | Snapshot | Timestamp | None, now: int) -> int:
    """By the clock: so whoever lost the newest goes on after what clients have seen of it."""
    return max(now, before.version + 1 if before else 1)


def next_targets(newest: bytes, snapshot: bytes, now: int) -> int:
    """The version after the newest targets, which may be lost, and after those of a snapshot.

    Raises:
        Malformed: `BAD_METADATA`.
    """
    named = parse(snapshot, Snapshot, SNAPSHOT).signed.meta.get(f"{TARGETS}.json")
    last = parse(newest, Targets, TARGETS).signed.version if newest else 0
    return max(now, last + 1, named.version + 1 if named else 1)


def delegations(trust: Trust) -> Delegations:
    """Each provider's role: it signs with any key that the bundle lists for it, its keys only.

    With a key that has ended, too: whoever could abuse that can list a key of his own.
    """
    keys: dict[str, Key] = {}
    roles: dict[str, DelegatedRole] = {}
    for participant in trust.bundle.participants:
        own = [key.public for key in participant.keys if key.public.alg == "EdDSA"]
        if participant.role == "provider" and own:
            role = provider_role(participant.id)
            keys |= {key.kid: tuf_key(key) for key in own}
            roles[role] = DelegatedRole(role, [key.kid for key in own], 1, True, [f"{role}/*"])
    return Delegations(keys, roles)


def names(targets: Targets, trust: Trust) -> bool:
    """Whether targets name this bundle, and leave to each provider in it its own keys."""
    file = TargetFile.from_data(BUNDLE, trust.token.encode("ascii"))
    return targets.targets == {BUNDLE: file} and targets.delegations == delegations(trust)


def make_key_set(
    provider: str, keys: Iterable[PublicKey], before: Targets | None, *, now: int, signer: Signer
) -> bytes:
    """A provider's own word, signed, which keys are its: those of the word before, and these."""
    files = {key_path(provider, key): key_file(provider, key) for key in keys}
    content = Targets(
        version=next_version(before, now),
        expires=date(now + KEY_SET_LIFE_S),
        targets={**(before.targets if before else {}), **files},
    )
    if before:
        content.unrecognized_fields[_BEFORE] = before.version
    return signed(content, [signer])


def version_before(key_set: Targets) -> int:
    """The version of the key set that this one goes on from; 0 for the first."""
    found = key_set.unrecognized_fields.get(_BEFORE, 0)
    return found if type(found) is int else 0


def key_file(provider: str, key: PublicKey) -> TargetFile:
    """What a key set says of one key: hash and length of its JWK."""
    return TargetFile.from_data(key_path(provider, key), canonical_json(key.jwk()))


def lacking(key_set: Targets, participant: Participant) -> list[PublicKey]:
    """Keys of a participant that the key set does not hold."""
    return [
        key.public
        for key in participant.keys
        if key_set.targets.get(key_path(participant.id, key.public))
        != key_file(participant.id, key.public)
    ]
