"""Who may call what: one row per RPC and listener; what has no row is denied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

Listener = Literal["participants", "borrowers", "custodian"]

ANYONE: Final = frozenset({"anyone"})
"""Whoever the TLS listener lets in: health and reflection tell nothing about people."""
_ALL: Final = frozenset({"provider", "lender", "auditor", "operator"})
_WHO_IDENTIFY: Final = frozenset({"provider", "lender", "auditor"})
_V1 = "/credproof.v1."
_EVALUATE: Final = _V1 + "PseudonymService/EvaluatePseudonyms"

TABLE: Final[Mapping[Listener, Mapping[str, frozenset[str]]]] = {
    "participants": {
        _V1 + "AttestationService/SubmitAttestations": frozenset({"provider"}),
        _V1 + "AttestationService/StreamAttestations": frozenset({"provider"}),
        _V1 + "AttestationService/ListChainHeads": frozenset({"provider"}),
        _V1 + "AttestationService/WithdrawAttestations": frozenset({"provider"}),
        _V1 + "AttestationService/ShowFiled": frozenset({"provider"}),
        _EVALUATE: _WHO_IDENTIFY,
        _V1 + "VerificationService/Ask": frozenset({"lender"}),
        _V1 + "VerificationService/BatchAsk": frozenset({"lender"}),
        _V1 + "VerificationService/GetConsent": frozenset({"lender"}),
        _V1 + "AuditService/GetCheckpoint": _ALL,
        _V1 + "AuditService/ListEntries": frozenset({"auditor", "operator"}),
        _V1 + "AuditService/SearchPerson": frozenset({"auditor"}),
        _V1 + "AuditService/AskUnseal": frozenset({"auditor"}),
        _V1 + "AuditService/ListUnsealings": frozenset({"auditor"}),
        _V1 + "AuditService/DecideUnseal": frozenset({"auditor"}),
        _V1 + "AuditService/OpenDetail": frozenset({"auditor"}),
        _V1 + "AuditService/GetInclusionProof": _ALL,
        _V1 + "AuditService/GetConsistencyProof": _ALL,
        _V1 + "AuditService/ListTimestamps": frozenset({"auditor", "operator"}),
        _V1 + "RegistryService/GetTrustBundle": _ALL | {"custodian"},
        _V1 + "RegistryService/GetTrustMetadata": _ALL | {"custodian"},
        _V1 + "RegistryService/PublishTrustMetadata": frozenset({"operator", "provider"}),
        _V1 + "RegistryService/GetTrustVersion": frozenset({"auditor", "provider"}),
        _V1 + "RegistryService/PublishTrustBundle": frozenset({"operator"}),
        _V1 + "RegistryService/LiftThrottle": frozenset({"operator"}),
        "/grpc.health.v1.Health/Check": ANYONE,
        "/grpc.health.v1.Health/Watch": ANYONE,
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": ANYONE,
    },
    "borrowers": {
        _V1 + "ConsentService/GrantConsent": frozenset({"borrower"}),
        _V1 + "ConsentService/RevokeConsent": frozenset({"borrower"}),
        _V1 + "ConsentService/PauseConsent": frozenset({"borrower"}),
        _V1 + "ConsentService/ResumeConsent": frozenset({"borrower"}),
        _V1 + "ConsentService/ListUnsealed": frozenset({"borrower"}),
        _V1 + "ConsentService/ShowHeld": frozenset({"borrower"}),
        _V1 + "RegistryService/GetTrustBundle": frozenset({"borrower"}),
        _V1 + "RegistryService/GetTrustMetadata": frozenset({"borrower"}),
        "/grpc.health.v1.Health/Check": ANYONE,
        "/grpc.health.v1.Health/Watch": ANYONE,
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": ANYONE,
    },
    "custodian": {
        _EVALUATE: _WHO_IDENTIFY,
        "/grpc.health.v1.Health/Check": ANYONE,
        "/grpc.health.v1.Health/Watch": ANYONE,
    },
}
"""Full method name -> the roles that may call it."""


UNLICENSED: Final = frozenset(
    {
        _V1 + "AuditService/GetCheckpoint",
        _V1 + "AuditService/GetInclusionProof",
        _V1 + "AuditService/GetConsistencyProof",
        _V1 + "RegistryService/GetTrustBundle",
        _V1 + "RegistryService/GetTrustMetadata",
    }
)
"""What a lender may call without a valid licence: to see why, and to prove what it was told."""


def allowed(listener: Listener, method: str) -> frozenset[str]:
    """The roles that may call `method` on this listener; empty when nobody may."""
    return TABLE[listener].get(method, frozenset())
