"""The root of a service: making it, changing it by files that people pass on, seeing its ends."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from credproof.base.encoding import b64url, canonical_json, parse_b64url
from credproof.base.errors import Conflict, Malformed
from credproof.base.keys import Ed25519Signer, PublicKey
from credproof.files import write_private
from credproof.updating import metadata as tuf
from credproof.updating.metadata import ROOT, TARGETS, TIMESTAMP
from credproof.verification.trust import Trust
from tuf.api.metadata import Metadata, Root, Targets

from credproof_server.admission import change_bundle, targets_for, trust_channel
from credproof_server.directory import OPERATOR, ServiceDirectory, now
from credproof_server.service.core import Core
from credproof_server.service.distribution import Standing, key_name


def read_key(path: Path) -> Ed25519Signer:
    """A private key that signs roots: one that `new_key` or `init` made, or an operator's own.

    Raises:
        Malformed: `NO_ROOT_KEY`.
    """
    try:
        return Ed25519Signer(parse_b64url(path.read_text("ascii").strip(), size=32))
    except OSError as error:
        raise Malformed("NO_ROOT_KEY", f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, Malformed) as error:
        message = f"{path} holds no private key: name one that root key made, or a signing.key"
        raise Malformed("NO_ROOT_KEY", message) from error


def new_key(path: Path) -> PublicKey:
    """Make a private key, and beside it, with the ending `.pub`, the public one to hand over.

    Raises:
        Conflict: `NOT_EMPTY`.
    """
    seed = os.urandom(32)
    public = Ed25519Signer(seed).public
    try:
        write_private(path, b64url(seed).encode("ascii"))
    except FileExistsError as error:
        raise Conflict("NOT_EMPTY", "there is a file of this name: name a new one") from error
    path.with_name(f"{path.name}.pub").write_bytes(canonical_json(public.jwk()))
    return public


# -- the first root ------------------------------------------------------------------


def begin(folder: Path, *, root_key: Path | None = None) -> None:
    """Give the bundle of a service out by TUF from now on. The service must not run.

    Raises:
        Conflict: `NO_CHANGE` when it does already, `IN_USE`.
        Malformed: `NO_ROOT_KEY`, `OTHER_ROOT_KEY`.
    """
    directory = ServiceDirectory(folder)
    signer = directory.root_signer(root_key)
    with directory.locked():
        core = directory.open_core()
        try:
            make_first(directory, core, signer)
        finally:
            core.close()


def make_first(directory: ServiceDirectory, core: Core, signer: Ed25519Signer) -> None:
    """The first root: the key that signs bundles, and the operators', any two of whom change it.

    Raises:
        Conflict: `NO_CHANGE`.
    """
    if core.distribution.is_begun:
        raise Conflict("NO_CHANGE", "the service gives its trust bundle out by TUF already")
    trust, own = core.trust, read_key(directory.folder / OPERATOR / "signing.key")
    root = tuf.first_root(signer.public, _operators(trust), new_online_key(directory), now())
    items = {
        ROOT: tuf.signed(root, [signer, own]),
        TARGETS: tuf.make_targets(trust, now(), signer),
    }
    core.distribution.accept(items, trust)
    core.distribution.renew(trust)


def _operators(trust: Trust) -> list[PublicKey]:
    active = [p for p in trust.bundle.participants if (p.role, p.status) == ("operator", "active")]
    return [key.public for p in active for key in p.keys if key.public.alg == "EdDSA"]


def new_online_key(directory: ServiceDirectory) -> PublicKey:
    """A new key of the service for snapshot and timestamp; it signs once a root names it."""
    seed = os.urandom(32)
    public = Ed25519Signer(seed).public
    directory.keys.write(key_name(public), seed)
    return public


# -- the next root --------------------------------------------------------------------


def draft(
    folder: Path,
    *,
    add: Sequence[PublicKey] = (),
    remove: Sequence[str] = (),
    threshold: int | None = None,
    bundle_key: PublicKey | None = None,
    online_key: bool = False,
    begin_anew: Sequence[str] = (),
) -> Metadata[Root]:
    """The next root, to be signed: without changes it is the present one for another year.

    `remove` are fingerprints. `bundle_key` takes the place of the key that signs trust bundles,
    also among those who sign roots. With `online_key` the service gets a new key of its own.
    `begin_anew` are providers that lost all their keys: what they signed until now binds nobody.

    Raises:
        Conflict: `NO_TUF`, `NO_SUCH_PARTICIPANT`.
        Malformed: `NO_SUCH_KEY`, `BAD_THRESHOLD`.
    """
    directory = ServiceDirectory(folder)
    root = tuf.next_root(directory.distribution().root(), now())
    if bundle_key is not None:
        tuf.set_bundle_key(root, bundle_key)
    for key in add:
        root.add_key(tuf.tuf_key(key), ROOT)
    for kid in remove:
        _remove(root, kid)
    for provider in begin_anew:
        _begin_anew(directory, root, provider)
    if threshold is not None:
        root.roles[ROOT].threshold = threshold
    if not 1 <= root.roles[ROOT].threshold <= len(root.roles[ROOT].keyids):
        raise Malformed("BAD_THRESHOLD", "a threshold is from 1 to the number of keys")
    if online_key:
        fresh = new_online_key(directory)
        (old,) = tuf.keys_of(root, TIMESTAMP)
        for role in (tuf.SNAPSHOT, TIMESTAMP):
            tuf.exchange(root, role, old, fresh)
    return Metadata(root)


def _remove(root: Root, kid: str) -> None:
    if kid not in root.roles[ROOT].keyids:
        raise Malformed("NO_SUCH_KEY", "no key of this fingerprint signs roots: see root status")
    root.revoke_key(kid, ROOT)


def _begin_anew(directory: ServiceDirectory, root: Root, provider: str) -> None:
    """All that a provider signed until now binds nobody, also where its clock was ahead."""
    files, role = directory.distribution().files, tuf.provider_role(provider)
    targets = tuf.parse(files.newest(TARGETS), Targets, TARGETS).signed.delegations
    if targets is None or role not in (targets.roles or {}):
        message = "no provider of this id was admitted: see credproof participant list"
        raise Conflict("NO_SUCH_PARTICIPANT", message)
    tuf.begin_anew(root, provider, max(now(), *files.versions(role), 0))


def sign(data: bytes, signer: Ed25519Signer) -> Metadata[Root]:
    """A draft with one signature more.

    Raises:
        Malformed: `BAD_METADATA`.
        VerificationFailed: `DRAFT_CHANGED` when somebody has signed something else.
    """
    found = tuf.parse(data, Root, ROOT)
    tuf.signers(found)
    tuf.add_signature(found, signer)
    return found


def publish(folder: Path, data: bytes, *, root_key: Path | None = None) -> Root:
    """Put a root in force that enough keys of the present one and of itself have signed.

    Where another key signs trust bundles from now on, it must be at hand: it signs the bundle in
    force anew.

    Raises:
        Conflict: `NO_TUF`, `TUF_VERSION`.
        VerificationFailed: `TUF_NOT_SIGNED`, `TUF_NOT_BOUND`, `TUF_EXPIRED`.
        Malformed: `BAD_METADATA`, `NO_ONLINE_KEY`, `NO_ROOT_KEY`, `OTHER_ROOT_KEY`.
    """
    directory = ServiceDirectory(folder)
    root = tuf.parse(data, Root, ROOT).signed
    tuf.require_sound(root, now())
    before, (key,) = directory.root(), tuf.keys_of(root, TARGETS)
    items = {ROOT: data}
    with trust_channel(directory) as channel:
        if key != before:
            signer = directory.root_signer(root_key, key)
            items |= targets_for(channel.current(), channel.metadata, signer)
        channel.publish_metadata(items)
    if key != before:
        extend(folder, root_key=root_key)
    return root


def extend(folder: Path, *, root_key: Path | None = None) -> Trust:
    """Sign trust bundle and targets anew, unchanged, for another year."""
    return change_bundle(ServiceDirectory(folder), lambda current: current.bundle, root_key)


def standings(folder: Path) -> list[Standing]:
    """Who signs what until when; the service may run.

    Raises:
        Conflict: `NO_TUF`.
    """
    return ServiceDirectory(folder).distribution().standings()


def begun_anew(folder: Path) -> Mapping[str, int]:
    """As `metadata.providers_anew`, of the root in force.

    Raises:
        Conflict: `NO_TUF`.
    """
    return tuf.providers_anew(ServiceDirectory(folder).distribution().root())
