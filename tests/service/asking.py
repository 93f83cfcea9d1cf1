"""A borrower who is attested, bound and asked about, on a service without its network."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

from credproof.base.keys import Ed25519Signer
from credproof.verification.consent import (
    Notice,
    Terms,
    parse_request,
    sign_consent,
    sign_request,
    verify_consent,
)
from credproof.verification.policy import PolicyRef
from credproof_server.service.consents import Consents
from credproof_server.service.core import Core
from credproof_server.service.ingest import Ingest
from credproof_server.service.verify import Ask, Verify

from tests.deployment import Deployment, package, seal, statement
from tests.world import KEY_BINDING, complete

SUB = bytes(31) + b"\x01"


@dataclass
class Person:
    """One borrower, the provider `bank` and the lender `lend`."""

    deployment: Deployment
    core: Core
    signer: Ed25519Signer = field(default_factory=lambda: Ed25519Signer(os.urandom(32)))

    @property
    def policy(self) -> PolicyRef:
        return next(iter(self.core.trust.policies))

    async def attest(self, values=None, **changes: object) -> None:
        await self._submit(statement(values, **changes))

    async def bind(self, *, key: Ed25519Signer | None = None, **changes: object) -> None:
        jwk = (key or self.signer).public.jwk()
        values = complete(KEY_BINDING, {"jwk": jwk, "method": "SOFTWARE"})
        made = {"account": "key", **changes}
        await self._submit(statement(values, schema=KEY_BINDING, **made))

    async def _submit(self, made) -> None:
        signer = self.deployment.home(made.issuer).signer
        sealed = seal(self.core.trust, [package(made, signer)], provider=made.issuer)
        (result,) = (await Ingest(self.core).submit(made.issuer, sealed)).results
        assert not isinstance(result, Exception), result

    async def consent(self, policy: PolicyRef | None = None, *, mode: str = "once") -> bytes:
        """Grant a consent to `lend`; gives its id."""
        now = int(time.time())
        terms = Terms(
            sub=SUB,
            aud="lend",
            via=self.core.trust.bundle.domain,
            policies=(policy or self.policy,),
            purpose="ORIGINATION",
            mode=mode,  # type: ignore[arg-type]
            expires_at=now + 3600,
            data_life_days=30,
        )
        lender = self.deployment.home("lend").signer
        request = sign_request(
            lender, terms, jti=os.urandom(16), issued_at=now, open_until=now + 60
        )
        token = sign_consent(
            self.signer,
            parse_request(request),
            jti=os.urandom(16),
            now=now,
            notice=Notice(bytes(32), "zh"),
        )
        await Consents(self.core).grant(token, self.signer.public)
        return verify_consent(token).id

    def question(self, consent_id: bytes, policy: PolicyRef | None = None) -> Ask:
        return Ask(
            request_id=os.urandom(16),
            nonce=os.urandom(32),
            sub=SUB,
            policy=policy or self.policy,
            consent_id=consent_id,
            case_digest=bytes(32),
            staff_digest=bytes(32),
        )

    async def ask(self, consent_id: bytes, policy: PolicyRef | None = None):
        return await Verify(self.core).ask("lend", self.question(consent_id, policy))
