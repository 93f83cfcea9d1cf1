"""One borrower, `bank` and `lend` on a service without network: what it takes to ask."""

from __future__ import annotations

import os
import time
from dataclasses import replace

from credproof import standard
from credproof.attestation.package import parse_package
from credproof.base.encoding import b64url, canonical_json, parse_json
from credproof.base.keys import Ed25519Signer
from credproof.verification.bundle import PolicyPin
from credproof.verification.consent import (
    Notice,
    Terms,
    parse_request,
    sign_consent,
    sign_request,
    verify_consent,
)
from credproof.verification.document import Device
from credproof.verification.grammar import parse_policy
from credproof.verification.notice import notice_digest, notice_digests, notice_text, text_in
from credproof.verification.participant import NEVER
from credproof.verification.policy import Policy
from credproof_server.log.epochs import CloseEpoch
from credproof_server.service.answering import Ask, Settle
from credproof_server.service.consents import Consents
from credproof_server.service.core import Core
from credproof_server.service.ingest import Ingest
from credproof_server.service.verify import Verify

from tests.deployment import DOMAIN, Deployment, package, seal, statement
from tests.world import KEY_BINDING, POLICY, complete, signer_of


class Asking:
    """An attested borrower who consents to whatever `lend` asks."""

    def __init__(self, deployment: Deployment, core: Core) -> None:
        self.core = core
        self.core_directory = deployment.directory
        self.bank = deployment.home("bank").signer
        self.lend = deployment.home("lend").signer
        self.borrower: Ed25519Signer = signer_of("borrower")
        self.sub = statement().sub
        self.newest = bytes(32)

    async def attest(self, values=None, *, seq: int = 1) -> None:
        """The figures of the borrower's one account, and in the beginning the key."""
        made = package(statement(values, seq=seq, prev=self.newest), self.bank)
        self.newest = parse_package(made).token.id
        await self._accepted(made)
        if seq == 1:
            await self.bind()

    async def bind(self, signer=None, *, replaces: bytes | None = None, **changes: object) -> bytes:
        """Bind the borrower's key, or another one, in an account of its own; the token's id."""
        key = (signer or self.borrower).public
        values = {"jwk": key.jwk(), "method": "SOFTWARE"}
        values |= {"replaces": b64url(replaces)} if replaces else {}
        account = "key" if signer is None else f"key-{key.kid}"
        about = {"schema": KEY_BINDING, "account": account, **changes}
        made = package(statement(complete(KEY_BINDING, values), **about), self.bank)
        await self._accepted(made)
        return parse_package(made).token.id

    async def _accepted(self, made: bytes) -> None:
        (result,) = await self.submit([made])
        if isinstance(result, Exception):
            raise result

    async def submit(self, packages: list[bytes]):
        return (await Ingest(self.core).submit("bank", seal(self.core.trust, packages))).results

    def policy(self, cap: str, **members: object) -> Policy:
        """The shipped policy with another cap, and other members, in force."""
        document = parse_json(POLICY.document) | {
            "policy": "capped-" + cap.replace(" ", "-"),
            "caps": {"answers": cap},
            **members,
        }
        policy = parse_policy(canonical_json(document), standard.schemas())
        trust = self.core.trust
        pins = (*trust.bundle.policies, PolicyPin(policy.ref, 0, NEVER))
        self.core.sequencer.state.trust = replace(
            trust,
            bundle=replace(trust.bundle, policies=pins),
            documents=(*trust.documents, policy.document),
        )
        return policy

    async def consent(self, *policies: Policy, mode: str = "continuing", signer=None) -> bytes:
        """The id of a fresh consent of the borrower to these policies."""
        self.document = self.signed_consent(*policies, mode=mode, signer=signer)
        await self.grant(self.document, signer)
        return verify_consent(self.document, self.core.trust.bundle.relying_parties).id

    async def grant(self, document: str, signer=None) -> None:
        caller = signer_of("caller") if isinstance(signer, Device) else signer or self.borrower
        await Consents(self.core).grant(document, caller.public)

    def signed_consent(self, *policies: Policy, mode: str = "continuing", signer=None) -> str:
        now = int(time.time())
        terms = Terms(
            sub=self.sub,
            aud="lend",
            via=DOMAIN,
            policies=tuple(policy.ref for policy in policies),
            purpose=policies[0].purpose,
            mode=mode,
            expires_at=now + 90 * 86_400,
            data_life_days=30,
        )
        times = {"issued_at": now, "open_until": now + 3600}
        trust = self.core.trust
        said = {"jti": os.urandom(16), "notices": notice_digests(trust, terms)}
        request = parse_request(sign_request(self.lend, terms, **said, **times))
        notice = Notice(notice_digest(notice_text(trust, terms, text_in(trust, "zh"))), "zh")
        by = signer or self.borrower
        return sign_consent(by, request, jti=os.urandom(16), now=now, notice=notice)

    def question(self, policy: Policy, consent_id: bytes) -> Ask:
        """A fresh question of the lender."""
        nonce, digest = os.urandom(32), bytes(32)
        return Ask("lend", os.urandom(16), nonce, self.sub, policy.ref, consent_id, digest, digest)

    async def ask(self, question: Ask):
        return await Verify(self.core).ask(question)

    def draft(self, question: Ask):
        """The answer as it stands before the sequencer decides."""
        self.core.sequencer.submit(CloseEpoch()).result()
        (draft,) = Verify(self.core)._prepare([question])
        return draft

    async def give(self, draft) -> int | None:
        """Have the sequencer decide: the log index of the answer, or its error."""
        (settled,) = (await self.core.commit(Settle(self.core.rules, [(draft.ask, draft)]))).value
        if isinstance(settled, Exception):
            raise settled
        return settled
