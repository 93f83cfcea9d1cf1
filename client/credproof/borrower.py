"""The borrower's SDK: hold a key, see who asks for what, consent, pause, revoke.

borrower = Borrower.open(Path("me"))
request = borrower.check(Path("lender.request").read_text())
print(request.notice("zh"))
consent = borrower.consent(request, language="zh")
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc

from credproof.attestation.schema import Schema
from credproof.base.encoding import Json, b64url, canonical_json, parse_b64url, parse_json
from credproof.base.errors import Conflict, CredproofError, DataLoss, Malformed
from credproof.base.keys import Ed25519Signer, PublicKey, parse_jwk
from credproof.base.limits import HELD_PAGE_MAX, SNAPSHOT_ATTEMPTS_MAX
from credproof.base.members import Members
from credproof.channel import SignedCaller, connect_borrower
from credproof.files import replace_file, write_private
from credproof.home import Home
from credproof.updating.newest import State
from credproof.v1 import consent_service_pb2 as pb
from credproof.v1 import registry_service_pb2 as registry_pb
from credproof.verification.checked import CheckedRequest, check_request
from credproof.verification.consent import (
    JTI_BYTES,
    Notice,
    sign_consent,
    sign_revocation,
    verify_consent,
)
from credproof.verification.document import (
    CONSENT,
    PAUSE,
    POSSESSION,
    RESUMPTION,
    Device,
    DocumentSigner,
    Kind,
    join_signatures,
    sign_document,
)
from credproof.verification.held import Held, NotShown, ShownHeld, verify_held
from credproof.verification.notice import notice_digest
from credproof.verification.pausing import sign_pause
from credproof.verification.trust import Trust
from credproof.wire import answer as answer_wire
from credproof.wire import trust as trust_wire
from credproof.wire.trust import TrustPackage

_GRANT = "/credproof.v1.ConsentService/GrantConsent"
_REVOKE = "/credproof.v1.ConsentService/RevokeConsent"
_PAUSE = "/credproof.v1.ConsentService/PauseConsent"
_RESUME = "/credproof.v1.ConsentService/ResumeConsent"
_UNSEALED = "/credproof.v1.ConsentService/ListUnsealed"
_SHOW_HELD = "/credproof.v1.ConsentService/ShowHeld"
_TRUST = "/credproof.v1.RegistryService/GetTrustBundle"
_METADATA = "/credproof.v1.RegistryService/GetTrustMetadata"
PASS_NAME = "pass.json"  # noqa: S105 - a file name


@dataclass(frozen=True, slots=True)
class Pass:
    """What a provider gives a borrower once the key is bound: the pseudonym, and the service."""

    sub: bytes
    provider: str
    domain: str
    address: str
    authority: bytes
    root: PublicKey

    def to_bytes(self) -> bytes:
        """The content of a `pass.json` file."""
        return canonical_json(
            {
                "address": self.address,
                "authority": self.authority.decode("ascii"),
                "domain": self.domain,
                "provider": self.provider,
                "root": self.root.jwk(),
                "sub": b64url(self.sub),
            }
        )


@dataclass(frozen=True, slots=True)
class UnsealedDetail:
    """A detail of a log entry about a borrower that an auditor was given, as the log entry at
    `log_index` says; `time` is in whole seconds."""

    log_index: int
    time: int
    auditor: str
    entry_index: int
    detail: str


def make_pass(home: Home, sub: bytes) -> Pass:
    """The pass that the provider of `home` hands to a borrower whose key it bound."""
    settings = home.settings
    return Pass(
        sub=sub,
        provider=settings.id,
        domain=settings.domain,
        address=settings.borrowers_address,
        authority=home.tls()[0],
        root=settings.root,
    )


def parse_pass(data: bytes) -> Pass:
    """A pass, taken apart strictly.

    Raises:
        Malformed: `BAD_MEMBER`, or as `parse_json`.
    """
    members = Members(parse_json(data), "pass")
    found = Pass(
        sub=members.bytes("sub", 32),
        provider=members.take("provider", str),
        domain=members.take("domain", str),
        address=members.take("address", str),
        authority=members.take("authority", str).encode("utf-8"),
        root=parse_jwk(members.take("root", dict)),
    )
    members.finish()
    return found


def create(folder: Path) -> PublicKey:
    """Make a borrower's key in a new directory.

    Raises:
        Malformed: `ALREADY_ENROLLED`.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    seed = secrets.token_bytes(32)
    try:
        write_private(folder / "signing.key", b64url(seed).encode())
    except FileExistsError as error:
        raise Malformed(
            "ALREADY_ENROLLED",
            "this directory has a key already: use it, or name another directory",
        ) from error
    return Ed25519Signer(seed).public


def load_signer(folder: Path) -> Ed25519Signer:
    """The borrower's key.

    Raises:
        Malformed: `NO_BORROWER`.
    """
    try:
        text = (folder / "signing.key").read_bytes().decode("ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise Malformed(
            "NO_BORROWER",
            "no key in this home: name yours with --home, or use credproof borrower create",
        ) from error
    return Ed25519Signer(parse_b64url(text, size=32))


def prove_possession(signer: DocumentSigner, *, provider: str) -> str:
    """Shows a provider that one holds the key, so that it can bind it."""
    return sign_document(signer, POSSESSION, possession_claims(provider))


def possession_claims(provider: str) -> dict[str, Json]:
    """What a proof of possession made now says, before anybody has signed it."""
    return {"aud": provider, "iat": int(time.time())}


class Borrower:
    """A borrower at work."""

    def __init__(
        self,
        signer: DocumentSigner,
        found: Pass,
        channel: grpc.Channel | None = None,
        home: Path | None = None,
    ) -> None:
        """`channel` may be shared by several borrowers, on a device they share.

        In `home` is kept what was seen of the service's trust bundle; without one it is forgotten.
        """
        self._signer = signer
        self._pass = found
        self._channel = channel or connect_borrower(found.address, found.authority)
        self._home = home
        # A passkey signs documents, not calls: those are signed by a key made for the occasion.
        caller = Ed25519Signer(secrets.token_bytes(32)) if isinstance(signer, Device) else signer
        self._caller = SignedCaller(self._channel, caller, found.domain)

    @classmethod
    def open(cls, folder: Path) -> Borrower:
        """The borrower whose directory is `folder`, with the pass of a provider.

        Raises:
            Malformed: `NO_BORROWER`, `NO_PASS`.
        """
        try:
            found = parse_pass((folder / PASS_NAME).read_bytes())
        except FileNotFoundError as error:
            message = (
                "no pass in this home: name yours with --home, or let your provider bind your key,"
                " then use credproof borrower join"
            )
            raise Malformed("NO_PASS", message) from error
        return cls(load_signer(folder), found, home=folder)

    def close(self) -> None:
        self._channel.close()

    def trust(self) -> Trust:
        """The service's newest trust bundle by TUF, verified from the root of the pass on.

        Raises:
            CredproofError: as `State.newest`.
        """
        home = self._home
        with nullcontext(home) if home else TemporaryDirectory(prefix="credproof-") as folder:
            state = State(Path(folder), self._pass.root)
            return state.newest(self, None, now=int(time.time())).trust

    def metadata(self, role: str, version: int) -> bytes:
        """As `Source.metadata`."""
        request = registry_pb.GetTrustMetadataRequest(role=role, version=version)
        reply = self._caller.call(_METADATA, request, registry_pb.GetTrustMetadataResponse)
        return bytes(reply.metadata)

    def package(self) -> TrustPackage:
        """As `Source.package`."""
        request = registry_pb.GetTrustBundleRequest()
        reply = self._caller.call(_TRUST, request, registry_pb.GetTrustBundleResponse)
        return trust_wire.from_proto(reply.package)

    def check(self, token: str, trust: Trust | None = None) -> CheckedRequest:
        """Verify a lender's request before it is shown to anybody.

        Raises:
            Malformed, VerificationFailed: as `check_request`.
        """
        trust = trust or self.trust()
        via, now = self._pass.domain, int(time.time())
        return check_request(token, trust, sub=self._pass.sub, via=via, now=now)

    def consent(self, checked: CheckedRequest, *, language: str) -> str:
        """Sign the terms of a checked request and register the consent; gives the consent.

        Whoever keeps consents signs and grants apart, and keeps the consent in between: it is
        needed to revoke, and to try again, since a request is good for one consent.

        Raises:
            Refused: the service does not take it.
            Conflict: `REQUEST_USED`.
        """
        token = self.sign(checked, language=language)
        self.grant(token)
        return token

    def sign(self, checked: CheckedRequest, *, language: str) -> str:
        """Sign the terms of a checked request; the consent counts once it is granted."""
        return sign_consent(
            self._signer,
            checked.request,
            jti=secrets.token_bytes(JTI_BYTES),
            now=int(time.time()),
            notice=Notice(notice_digest(checked.notice(language)), language),
        )

    def grant(self, consent: str) -> None:
        """Register a consent with the service; granting it again changes nothing.

        Raises:
            Refused: the service does not take it.
        """
        self._caller.call(_GRANT, pb.GrantConsentRequest(consent=consent), pb.GrantConsentResponse)

    def signed_before(self, consent: str, checked: CheckedRequest) -> bool:
        """Whether this is a consent of this borrower to this very request."""
        try:
            found = verify_consent(consent, checked.trust.bundle.relying_parties)
        except CredproofError:
            return False
        return self._signer.public in found.keys and found.request == checked.request.jws.id

    def cosign(self, consent: str) -> str:
        """Add this borrower's signature to a consent, register it, and give the whole.

        For who has several keys: figures of a provider are used only under a key that it bound.
        A consent that is paused since its key was lost is active again under a new one.

        Raises:
            Malformed, VerificationFailed: it is not a consent.
            Refused: the service does not take it.
        """
        parties = self.trust().bundle.relying_parties
        there = verify_consent(consent, parties)
        if self._signer.public in there.keys:
            return consent
        mine = sign_document(self._signer, CONSENT, there.document.claims)
        whole = join_signatures([consent, mine])
        self.grant(whole)
        return whole

    def revoke(self, consent: str) -> int:
        """Revoke a consent; it is over when this returns. Gives the log index.

        Raises:
            Refused: it is not this borrower's consent.
        """
        return self.end(sign_revocation(self._signer, self._id(consent), now=int(time.time())))

    def end(self, revocation: str) -> int:
        """Hand in a revocation that is signed already; as `revoke`."""
        request = pb.RevokeConsentRequest(revocation=revocation)
        return int(self._caller.call(_REVOKE, request, pb.RevokeConsentResponse).log_index)

    def pause(self, consent: str) -> int:
        """Pause a consent: once this returns, no answer is given until it is resumed. Gives the
        log index.

        Raises:
            Refused: it is not this borrower's consent, its key counts no more; `CONSENT_REVOKED`.
            Conflict: `SUPERSEDED` when another device's clock is ahead: try again soon.
        """
        request = pb.PauseConsentRequest(pause=self._change(PAUSE, consent))
        return int(self._caller.call(_PAUSE, request, pb.PauseConsentResponse).log_index)

    def resume(self, consent: str) -> int:
        """Make a paused consent active again. Gives the log index.

        Raises:
            Refused, Conflict: as `pause`.
        """
        request = pb.ResumeConsentRequest(resumption=self._change(RESUMPTION, consent))
        return int(self._caller.call(_RESUME, request, pb.ResumeConsentResponse).log_index)

    def unsealed(self) -> Sequence[UnsealedDetail]:
        """Which details about this borrower auditors were given, in the order of the log.

        Raises:
            Refused: no provider binds this key for the borrower now; a passkey signs no calls.
        """
        request = pb.ListUnsealedRequest(sub=self._pass.sub)
        reply = self._caller.call(_UNSEALED, request, pb.ListUnsealedResponse)
        return [
            UnsealedDetail(d.log_index, d.time, d.auditor, d.entry_index, d.detail)
            for d in reply.details
        ]

    def self_check(self) -> tuple[Held, ...]:
        """What is current about this borrower, verified, for each schema that the service knows.

        Raises:
            Refused: `NOT_PERMITTED` when no provider binds the key that signs calls.
            VerificationFailed: `HELD_NOT_SHOWN` when the service has lost some of it, or says so,
                or says again and again to ask again, or other things on each page; as
                `verify_held`.
        """
        trust = self.trust()
        schemas = sorted(trust.schemas.values(), key=lambda schema: schema.id)
        return tuple(self._held(schema, trust) for schema in schemas)

    def _held(self, schema: Schema, trust: Trust) -> Held:
        for _ in range(SNAPSHOT_ATTEMPTS_MAX):
            pages = self._pages(schema)
            if len({_members(page) for page in pages}) == 1:
                return verify_held(pages, schema, trust, sub=self._pass.sub, now=int(time.time()))
        raise _not_shown(schema)  # it changed between pages, again and again

    def _pages(self, schema: Schema) -> list[ShownHeld]:
        """All pages. Each that is full must name so many members: so they come to an end."""
        pages, shown = [self._page(schema, 0)], 0
        while len(pages[-1].tokens) == HELD_PAGE_MAX:
            shown += HELD_PAGE_MAX
            if shown >= len(_members(pages[-1])):
                break
            pages.append(self._page(schema, pages[-1].tokens[-1].logged.log_index + 1))
        return pages

    def _page(self, schema: Schema, start: int) -> ShownHeld:
        reply = self._show_held(schema, start)
        return ShownHeld(
            directory=answer_wire.directory(reply.directory),
            tokens=tuple(answer_wire.token(item) for item in reply.tokens),
            checkpoint=reply.checkpoint,
        )

    def _show_held(self, schema: Schema, start: int) -> pb.ShowHeldResponse:
        request = pb.ShowHeldRequest(
            sub=self._pass.sub, schema_digest=schema.digest, start_index=start
        )
        for _ in range(SNAPSHOT_ATTEMPTS_MAX):
            try:
                return self._caller.call(_SHOW_HELD, request, pb.ShowHeldResponse)
            except DataLoss as error:
                raise _not_shown(schema) from error
            except Conflict as error:
                if error.reason != "SNAPSHOT_CHANGED":
                    raise
        raise _not_shown(schema)

    def _change(self, kind: Kind, consent: str) -> str:
        jti, now = secrets.token_bytes(JTI_BYTES), int(time.time())
        return sign_pause(self._signer, kind, self._id(consent), jti=jti, now=now)

    def _id(self, consent: str) -> bytes:
        return verify_consent(consent, self.trust().bundle.relying_parties).id


def _members(page: ShownHeld) -> tuple[bytes, ...]:
    """The ids of all that is current, as the page has them."""
    return tuple(member for lookup in page.directory.lookups for member in lookup.members)


def _not_shown(schema: Schema) -> NotShown:
    told = f"the service does not show all that it holds about you under {schema.id}"
    return NotShown("HELD_NOT_SHOWN", told, schema)


def join(folder: Path, data: bytes) -> Pass:
    """Keep the pass that a provider gave.

    Raises:
        Malformed: `NO_BORROWER`, and as `parse_pass`.
    """
    found = parse_pass(data)
    load_signer(folder)
    replace_file(folder / PASS_NAME, found.to_bytes())
    return found
