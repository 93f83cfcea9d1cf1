"""A service's metadata without the service, and clients of it; it may lie."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from credproof.base.errors import CredproofError
from credproof.base.keys import DatedKey, Ed25519Signer
from credproof.updating import metadata as tuf
from credproof.updating.newest import Found, State
from credproof.verification.bundle import TrustBundle
from credproof.verification.participant import NEVER
from credproof.verification.trust import Trust, sign_trust, verify_trust
from credproof.wire.trust import TrustPackage, package_of
from credproof_server.service.distribution import Distribution, key_name
from credproof_server.storage.keystore import KeyStore, LocalKeyEncryption
from credproof_server.storage.metadata import MetadataFiles
from tuf.api.metadata import Metadata

from tests.world import World, seed_of, signer_of

DAY_S = 24 * 3600
OPERATORS = (signer_of("operator"), signer_of("operator-2"))
ONLINE = signer_of("online")
STRANGER = signer_of("stranger")
BANK = "provider-bank"
WORLD = World()


class Chain:
    """Metadata of a bundle that the world's root signs; a `Source` for clients of it."""

    def __init__(self, folder: Path) -> None:
        self.world = WORLD
        self.root = self.world.root
        self.time = int(time.time())
        (folder / "keys").mkdir(parents=True)
        self.keys = KeyStore(folder / "keys", LocalKeyEncryption(bytes(32)))
        self.keys.write(key_name(ONLINE.public), seed_of("online"))
        self.files = MetadataFiles(folder / "tuf")
        self.distribution = Distribution(self.files, self.root.public, self.keys, lambda: self.time)
        self.trust = self.bundle(self.world.bundle())
        self.lies: dict[tuple[str, int], bytes] = {}
        self.asked: list[tuple[str, int]] = []
        self.other: TrustPackage | None = None
        """The package that it gives instead of the one in force."""

    # -- what the operator does

    def bundle(self, bundle: TrustBundle, signer: Ed25519Signer | None = None) -> Trust:
        """A bundle dated now, signed."""
        issued = int(time.time())
        dated = replace(bundle, issued_at=issued, expires_at=issued + 300 * DAY_S)
        signer = signer or self.root
        token = sign_trust(signer, dated)
        documents = self.world.documents()
        return verify_trust(token, documents, root=signer.public, at=issued)

    def begin(self) -> Chain:
        others = [signer.public for signer in OPERATORS]
        root = tuf.first_root(self.root.public, others, ONLINE.public, self.time)
        items = {"root": tuf.signed(root, [self.root, OPERATORS[0]])}
        return self.accept({**items, "targets": tuf.make_targets(self.trust, 1, self.root)})

    def accept(self, items: dict[str, bytes]) -> Chain:
        self.distribution.accept(items, self.trust)
        self.distribution.renew(self.trust)
        return self

    def publish(self, *items: tuple[str, bytes], **changes: object) -> Chain:
        """The next bundle, changed, with targets that name it."""
        bundle = self.trust.bundle
        fresh = self.bundle(replace(bundle, version=bundle.version + 1, **changes))
        self.trust = fresh
        return self.accept({"targets": self.targets(fresh), **dict(items)})

    def targets(self, trust: Trust | None = None, version: int | None = None) -> bytes:
        """Signed targets after the newest."""
        version = version or self.newest("targets").version + 1
        return tuf.make_targets(trust or self.trust, version, self.root)

    def next_root(self, *signers: Ed25519Signer, change=lambda _root: None) -> bytes:
        """The next root, changed, signed by these."""
        root = tuf.next_root(self.distribution.root(), self.time)
        change(root)
        return tuf.signed(root, signers)

    def key_set(self, *keys, signer: Ed25519Signer | None = None, before=None) -> bytes:
        """The key set of the provider `bank`."""
        keys = keys or (self.world.bank.public,)
        now, signer = self.time, signer or self.world.bank
        return tuf.make_key_set("bank", keys, before, now=now, signer=signer)

    def listing(self, *signers: Ed25519Signer) -> dict[str, object]:
        """The change of a bundle that lists these keys for the provider `bank`."""
        keys = tuple(DatedKey(signer.public, 0, NEVER) for signer in signers)
        found = self.trust.bundle.participants
        return {
            "participants": tuple(replace(p, keys=keys) if p.id == "bank" else p for p in found)
        }

    # -- what it gives out

    def newest(self, role: str):
        return tuf.parse_any(self.files.newest(role), role).signed

    def metadata(self, role: str, version: int) -> bytes:
        self.asked.append((role, version))
        found = self.lies.get((role, version))
        return self.distribution.get(role, version) if found is None else found

    def package(self) -> TrustPackage:
        self.asked.append(("bundle", 0))
        return self.other or package_of(self.trust)

    def forged(self, role: str, change, *signers: Ed25519Signer) -> bytes:
        """The newest metadata of a role, changed and signed anew; online if nobody is named."""
        found = Metadata.from_bytes(self.files.newest(role))
        found.signatures.clear()
        change(found.signed)
        for signer in signers or (ONLINE,):
            tuf.add_signature(found, signer)
        return tuf.to_bytes(found)


class Client:
    """Somebody who looks for the newest bundle of a chain, and remembers what it saw."""

    def __init__(self, folder: Path, chain: Chain, pinned=None) -> None:
        self.state = State(folder, pinned or chain.root.public)
        self.chain = chain
        self.kept: TrustPackage | None = None

    def update(self) -> Found:
        found = self.state.newest(self.chain, self.kept, now=int(time.time()))
        self.kept = found.package
        return found

    def refused(self) -> str:
        """The reason why it does not take what it is given."""
        try:
            self.update()
        except CredproofError as error:
            return error.reason
        raise AssertionError("it was taken")
