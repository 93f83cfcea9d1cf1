"""How clients find the newest trust bundle: TUF metadata, two roles of it signed here.

Root, targets and the providers' key sets come signed by people. Snapshot and timestamp are signed
by the service's own key, and renewed before they expire.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final, NamedTuple

from credproof.base.errors import Conflict, DataLoss, Malformed, VerificationFailed
from credproof.base.keys import Ed25519Signer, PublicKey
from credproof.roots import bundle_keys
from credproof.updating import metadata as tuf
from credproof.updating.accepted import binds, continues, not_continued
from credproof.updating.key_sets import not_signed
from credproof.updating.metadata import PREFIX, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, T
from credproof.updating.newest import is_bound
from credproof.verification.participant import Participant
from credproof.verification.trust import Trust
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from credproof_server.log.state import Clock
from credproof_server.storage.keystore import KeyStore
from credproof_server.storage.metadata import MetadataFiles

TIMESTAMP_LIFE_S: Final = 24 * 3600
"""How long a service may be kept from a client before the client notices: a day."""
SNAPSHOT_LIFE_S: Final = 7 * 24 * 3600
AHEAD_MAX_S: Final = 24 * 3600
"""How far ahead of the service's clock a version may be, which is a time in seconds: a day."""
SOON_S: Final = 30 * 24 * 3600
"""How long before something that people sign expires they are told: a month."""

_PROVIDERS_KEYS: Final = (
    "a key that the bundle lists for the provider (credproof provider keys sign)"
)

Items = Mapping[str, bytes]
"""Metadata by role."""


class Standing(NamedTuple):
    """A role's newest metadata: good until when (whole seconds), who signs, and how many must."""

    role: str
    version: int
    expires_at: int
    threshold: int
    keys: tuple[str, ...]

    def ends_soon(self, now: int) -> bool:
        """Whether somebody must sign it anew; what the service signs, it renews itself."""
        spare = 0 if self.role in (SNAPSHOT, TIMESTAMP) else SOON_S
        return self.expires_at - spare <= now

    def has_expired(self, now: int) -> bool:
        """Whether clients take it no more."""
        return self.expires_at <= now


class Distribution:
    """The metadata of one service; safe to share between threads."""

    def __init__(
        self, files: MetadataFiles, first: PublicKey, keys: KeyStore, clock: Clock
    ) -> None:
        """`first` is the root key of a service that gives out no metadata yet."""
        self.files = files
        self._first = first
        self._keys = keys
        self._clock = clock
        self._lock = threading.RLock()

    @property
    def is_begun(self) -> bool:
        """Whether there is a root: services of older versions have none until it is made."""
        return bool(self.files.versions(ROOT))

    @property
    def roots(self) -> tuple[PublicKey, ...]:
        """The keys that sign trust bundles, oldest first: the last of them signs new ones."""
        return bundle_keys(self.files.folder) or (self._first,)

    def require_begun(self) -> None:
        """Refuse what needs a root.

        Raises:
            Conflict: `NO_TUF`.
        """
        if not self.is_begun:
            raise Conflict("NO_TUF", "the service does not give out its trust bundle by TUF yet")

    def root(self) -> Root:
        """The newest root.

        Raises:
            Conflict: `NO_TUF`.
        """
        self.require_begun()
        return tuf.parse(self.files.newest(ROOT), Root, ROOT).signed

    def get(self, role: str, version: int) -> bytes:
        """Metadata of a role, of version 0 the newest; empty when there is none.

        Raises:
            Malformed: `BAD_ROLE`.
        """
        if not tuf.is_role(role) or version < 0:
            raise Malformed("BAD_ROLE", "there is no such role or version")
        with self._lock:
            return self.files.read(role, version) if version else self.files.newest(role)

    def standings(self) -> list[Standing]:
        """The newest metadata of each role."""
        with self._lock:
            root, roles = self.root(), [ROOT, TARGETS, SNAPSHOT, TIMESTAMP]
            there = [(role, self.files.newest(role)) for role in roles]
            found = [_standing(role, data, root) for role, data in there if data]
            targets = tuf.parse(there[1][1], Targets, TARGETS)
            for role in self.files.roles(PREFIX):
                found += [_standing(role, self.files.newest(role), targets.signed)]
            return found

    # -- what comes signed

    def accept(self, items: Items, trust: Trust) -> None:
        """Keep metadata for a bundle, all of it or nothing; it counts from `renew` on.

        Raises:
            Malformed: `BAD_METADATA`, `BAD_ROLE`, `NO_TARGETS`, `NO_ONLINE_KEY`.
            Conflict: `TUF_VERSION`, `NO_TUF`.
            VerificationFailed: `TUF_NOT_SIGNED`, `TUF_NOT_BOUND`, `TUF_EXPIRED`, `OTHER_TRUST`,
                `KEY_NOT_SIGNED`.
        """
        with self._lock:
            if not items and not self.is_begun:
                return
            root = self._accepted_root(items.get(ROOT))
            targets = self._accepted_targets(root, items.get(TARGETS), trust)
            sets = {role: items[role] for role in items if role not in (ROOT, TARGETS)}
            for role in {*sets, *self.files.roles(PREFIX)}:
                self.require_key_set(role, sets.get(role), targets, trust, root)
            for role in sorted(items, key=lambda role: role == ROOT):  # last: then all else counts
                self.files.write(role, _version_in(items[role], role), items[role])

    def _accepted_root(self, data: bytes | None) -> Root:
        if data is None or data == self.files.newest(ROOT):
            return self.root()
        following = tuf.parse(data, Root, ROOT)
        fresh = following.signed
        before = self.root() if self.is_begun else fresh
        how = "(credproof root sign; root status shows those in force)"
        for signer, whose in ((before, "the keys of the root in force"), (fresh, "its own keys")):
            tuf.require_signed(signer, ROOT, following, keys=f"{whose} {how}")
        if fresh.version != (last := len(self.files.versions(ROOT))) + 1:
            raise Conflict("TUF_VERSION", f"the next root has version {last + 1}: draft it anew")
        tuf.require_sound(fresh, self._clock())
        (key,) = tuf.keys_of(fresh, TARGETS)
        listed = tuf.bundle_key_list(before)
        if tuf.bundle_key_list(fresh) not in (listed, [*listed, key.data.hex()]):
            raise Malformed("BAD_METADATA", "the root forgets a key that signed trust bundles")
        anew = tuf.providers_anew(fresh)
        if any(anew.get(name, 0) < at for name, at in tuf.providers_anew(before).items()):
            raise Malformed("BAD_METADATA", "the root forgets a provider that begins anew")
        if (before is fresh or key not in tuf.keys_of(before, TARGETS)) and not is_bound(data, key):
            message = "the new key for trust bundles must sign this root too: credproof root sign"
            raise VerificationFailed("TUF_NOT_BOUND", message)
        if not self._keys.has(key_name(tuf.keys_of(fresh, TIMESTAMP)[0])):
            raise Malformed("NO_ONLINE_KEY", "the service does not hold the root's online key")
        return fresh

    def _accepted_targets(self, root: Root, data: bytes | None, trust: Trust) -> Targets:
        if data is None:
            found = self.in_force(trust)
            if found is None:
                raise Malformed("NO_TARGETS", "a trust bundle comes with the targets that name it")
        else:
            found = tuf.parse(data, Targets, TARGETS)
            self._require_next(TARGETS, data, self._last(TARGETS))
        tuf.require_signed(root, TARGETS, found)
        if not tuf.names(found.signed, trust):
            raise VerificationFailed("OTHER_TRUST", "the targets name another trust bundle")
        if data is not None and self._clock() < trust.bundle.expires_at:
            # Under a bundle that has expired clients take nothing; its root must come all the same.
            tuf.require_good(found.signed, self._clock(), TARGETS)
        return found.signed

    def require_key_set(
        self, role: str, data: bytes | None, targets: Targets, trust: Trust, root: Root
    ) -> None:
        """A provider's key set, new or kept: it is signed, and holds all that the bundle lists.

        A new one continues the one in force. After a root that lets the provider begin anew it need
        not, and what is kept of before need not hold the provider's new key.
        """
        participant = trust.participants.get(tuf.provider_of(role) or "")
        if participant is None or participant.role != "provider":
            raise Malformed("BAD_ROLE", "only a provider of the trust bundle has a key set")
        found = tuf.parse(data or self.files.newest(role), Targets, role)
        if data is not None:
            self._require_next(role, data, self._last(role))
            tuf.require_good(found.signed, self._clock(), role)
        tuf.require_signed(targets, role, found, keys=_PROVIDERS_KEYS)
        if any(not path.startswith(f"{role}/") for path in found.signed.targets):
            raise Malformed("BAD_METADATA", "a key set names keys of its provider, nothing else")
        counts = data is not None or binds(found.signed.version, root, participant.id)
        if counts and tuf.lacking(found.signed, participant):
            raise not_signed(participant)
        if data is not None:
            self._require_continued(role, found, participant, root)

    def _require_continued(
        self, role: str, found: Metadata[Targets], owner: Participant, root: Root
    ) -> None:
        """Else whoever saw the one in force would refuse it, now or once it missed one between."""
        data = self.files.read(role, self.version(role))
        before = tuf.parse(data, Targets, role).signed if data else None
        if before is None or before.version == found.signed.version:
            return  # the first one, or the same once more
        if not binds(before.version, root, owner.id):
            return
        if tuf.version_before(found.signed) < before.version:
            raise Conflict("TUF_VERSION", f"{role} goes on from another key set than is in force")
        if not continues(found, before, owner.id, [key.public for key in owner.keys]):
            raise not_continued(owner.id)

    def _require_next(self, role: str, data: bytes, current: int) -> None:
        """The version must be higher; the same bytes may come again, when a reply was lost.

        One far ahead of the clock would be the last: none could follow it, and above int64 no
        client can ask for it.
        """
        if data != self.files.read(role, current) and _version_in(data, role) <= current:
            raise Conflict("TUF_VERSION", f"newer metadata of {role} was published already")
        if _version_in(data, role) > max(self._clock() + AHEAD_MAX_S, current + 1):
            message = f"the metadata of {role} is dated ahead: set the clock, and sign it anew"
            raise Conflict("TUF_VERSION", message)

    # -- what is signed here

    def renew(self, trust: Trust) -> None:
        """Sign snapshot and timestamp, if something changed or half of their life is over.

        Raises:
            DataLoss: `KEY_MISSING`, `KEY_NOT_OPENED`, `NO_TARGETS`.
        """
        with self._lock:
            if not self.is_begun:
                return
            if (targets := self.in_force(trust)) is None:
                raise DataLoss("NO_TARGETS", "no targets name the trust bundle in force")
            files = {role: self.files.newest(role) for role in self.files.roles(PREFIX)}
            files[TARGETS] = self.files.read(TARGETS, targets.signed.version)
            signer = self._online()
            meta = {f"{role}.json": meta_file(data, role) for role, data in files.items()}
            self._renew_snapshot(meta, signer)
            self._renew_timestamp(signer)

    def _renew_snapshot(self, meta: dict[str, MetaFile], signer: Ed25519Signer) -> None:
        old = self._parsed(SNAPSHOT, Snapshot)
        current = old is not None and old.meta == meta and self.files.newest(TIMESTAMP)
        if not current or self._is_due(SNAPSHOT, SNAPSHOT_LIFE_S, signer):
            version = tuf.next_version(old, self._clock())
            expires = tuf.date(self._clock() + SNAPSHOT_LIFE_S)
            content = Snapshot(version, expires=expires, meta=meta)
            self.files.write(SNAPSHOT, version, tuf.signed(content, [signer]))

    def _renew_timestamp(self, signer: Ed25519Signer) -> None:
        named = meta_file(self.files.newest(SNAPSHOT), SNAPSHOT)
        old = self._parsed(TIMESTAMP, Timestamp)
        current = old is not None and old.snapshot_meta == named
        if not current or self._is_due(TIMESTAMP, TIMESTAMP_LIFE_S, signer):
            version = max(tuf.next_version(old, self._clock()), named.version)
            expires = tuf.date(self._clock() + TIMESTAMP_LIFE_S)
            content = Timestamp(version, expires=expires, snapshot_meta=named)
            self.files.write(TIMESTAMP, version, tuf.signed(content, [signer]))

    def _is_due(self, role: str, life_s: int, signer: Ed25519Signer) -> bool:
        found = tuf.parse_any(self.files.newest(role), role)
        half_left = tuf.seconds(found.signed.expires) - life_s // 2
        return self._clock() >= half_left or signer.public.kid not in found.signatures

    def _online(self) -> Ed25519Signer:
        return Ed25519Signer(self._keys.read(key_name(tuf.keys_of(self.root(), TIMESTAMP)[0])))

    # -- what is there

    def in_force(self, trust: Trust) -> Metadata[Targets] | None:
        """The newest targets that name this bundle, signed as the newest root asks for."""
        root = self.root()
        for version in self.files.versions(TARGETS):
            found = tuf.parse(self.files.read(TARGETS, version), Targets, TARGETS)
            if tuf.names(found.signed, trust) and tuf.is_signed(root, TARGETS, found):
                return found
        return None

    def _last(self, role: str) -> int:
        """The last version that was taken: targets of a commit that failed are never in force."""
        return max([self.version(role), *self.files.versions(role)])

    def version(self, role: str) -> int:
        """The version in force: as the newest snapshot names it; 0 when it names none."""
        snapshot = self._parsed(SNAPSHOT, Snapshot)
        named = snapshot.meta.get(f"{role}.json") if snapshot else None
        return named.version if named else 0

    def _parsed(self, role: str, kind: type[T]) -> T | None:
        data = self.files.newest(role)
        return tuf.parse(data, kind, role).signed if data else None


def key_name(online: PublicKey) -> str:
    """The name of the online key in the service's key store."""
    return f"tuf-{online.kid}"


def meta_file(data: bytes, role: str) -> MetaFile:
    return MetaFile.from_data(_version_in(data, role), data, ["sha256"])


def _version_in(data: bytes, role: str) -> int:
    return int(tuf.parse_any(data, role).signed.version)


def _standing(role: str, data: bytes, by: Root | Targets) -> Standing:
    signed = tuf.parse_any(data, role).signed
    keys = tuple(key.kid for key in tuf.keys_of(by, role))
    threshold = by.get_delegated_role(role).threshold
    return Standing(role, signed.version, tuf.seconds(signed.expires), threshold, keys)
