"""Who calls what: every RPC by every wrong role, at the wrong listener, with a false name."""

from __future__ import annotations

import time
from typing import Any

import grpc
from credproof_server.directory import ServiceDirectory
from credproof_server.rpc.authorization import TABLE
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.adversary.attack import Attack
from tests.adversary.stage import AUDITOR, DOMAIN, LENDER, OPERATOR, PROVIDER, Stage

CALLERS = {"provider": PROVIDER, "lender": LENDER, "auditor": AUDITOR, "operator": OPERATOR}
OURS = {
    method.removeprefix("/credproof.v1."): roles
    for method, roles in TABLE["participants"].items()
    if method.startswith("/credproof.")
}
TRUST = "RegistryService/GetTrustBundle"


def wrong_roles() -> list[Attack]:
    """Each RPC called by each role that has no row for it."""
    return [
        Attack(
            f"{method} called by a{'n' * (role[0] in 'ao')} {role}",
            lambda stage, caller=caller, method=method: stage.send(caller, method, b""),
            "PERMISSION_DENIED",
            "NOT_PERMITTED",
        )
        for method, roles in OURS.items()
        for role, caller in CALLERS.items()
        if role not in roles
    ]


def suspended() -> list[Attack]:
    return [
        Attack(
            f"{method} called by a suspended {role}",
            lambda stage, caller=caller, method=method: stage.send(caller, method, b""),
            "PERMISSION_DENIED",
            "NOT_PERMITTED",
        )
        for method, roles in OURS.items()
        for role, caller in (("provider", "gone-bank"), ("lender", "gone-lender"))
        if role in roles
    ]


def wrong_listener() -> list[Attack]:
    """What a listener does not serve does not exist there, however well the call is signed."""
    rows = [
        Attack(
            f"{method} on the borrowers' listener",
            lambda stage, method=method: stage.call("ann", method, _nothing()),
            "UNIMPLEMENTED",
            None,
        )
        for method in OURS
        if not method.startswith("RegistryService")
    ]
    for rpc in ("Grant", "Revoke", "Pause", "Resume"):
        method = f"ConsentService/{rpc}Consent"
        rows += [
            Attack(
                f"{method} on the participants' listener by a {who}",
                lambda stage, who=who, method=method: stage.send(CALLERS[who], method, b""),
                "UNIMPLEMENTED",
                None,
            )
            for who in ("lender", "provider")
        ]
    publish = "RegistryService/PublishTrustBundle"
    return [
        *rows,
        Attack(
            f"{publish} on the borrowers' listener",
            lambda stage: stage.call("ann", publish, _nothing()),
            "PERMISSION_DENIED",
            "NOT_PERMITTED",
        ),
        Attack(
            "an RPC that nobody has ever written",
            lambda stage: stage.send(LENDER, "VerificationService/Forge", b""),
            "UNIMPLEMENTED",
            None,
        ),
    ]


def _nothing() -> Any:
    from credproof.v1.registry_service_pb2 import GetTrustBundleRequest

    return GetTrustBundleRequest()


def _certified(stage: Stage, *, domain: str, role: str, name: str) -> bytes:
    """A call under a certificate that the service's own authority gave for another name."""
    home = stage.home(LENDER)
    authority, key, _ = home.tls()
    public: Any = load_pem_private_key(key, None).public_key()
    issuer = ServiceDirectory(stage.world.service).authority()
    certificate = issuer.participant(
        public,
        domain=domain,
        role=role,
        name=name,
        kid=home.signer.public.kid,
        now=int(time.time()),
    )
    credentials = grpc.ssl_channel_credentials(authority, key, certificate)
    with grpc.secure_channel(home.settings.address, credentials) as channel:
        return bytes(channel.unary_unary(f"/credproof.v1.{TRUST}")(b"", timeout=5))


def _name(what: str, code: str, reason: str, **names: str) -> Attack:
    names = {"domain": DOMAIN, "role": "lender", "name": LENDER, **names}
    return Attack(
        f"a certificate for {what}", lambda stage: _certified(stage, **names), code, reason
    )


FALSE_NAMES = [
    _name("nobody", "PERMISSION_DENIED", "NOT_PERMITTED", name="nobody"),
    _name("a lender as operator", "PERMISSION_DENIED", "NOT_PERMITTED", role="operator"),
    _name("a role that does not exist", "PERMISSION_DENIED", "NOT_PERMITTED", role="king"),
    _name("a borrower", "PERMISSION_DENIED", "NOT_PERMITTED", role="borrower"),
    _name("a suspended provider", *("PERMISSION_DENIED", "NOT_PERMITTED"), name="gone-bank"),
    _name("a longer path", "PERMISSION_DENIED", "NOT_PERMITTED", name=f"{LENDER}/x"),
    _name("another service's domain", "UNAUTHENTICATED", "NOT_AUTHENTICATED", domain="x.example"),
    _name("a longer domain", "UNAUTHENTICATED", "NOT_AUTHENTICATED", domain=f"{DOMAIN}.example"),
]
ATTACKS = [*wrong_roles(), *suspended(), *wrong_listener(), *FALSE_NAMES]
