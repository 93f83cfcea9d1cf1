"""Every limit of the protocol, by name, with its unit and its reason.

The limit of each field on the wire is in `credproof.wire.limits`, which uses these.
"""

from __future__ import annotations

from typing import Final

from credproof.base.errors import LimitExceeded

# Time, in seconds.
CLOCK_SKEW_S: Final = 120
"""How far two honest clocks may be apart."""
ATTESTATION_AGE_MAX_S: Final = 24 * 3600
"""How old a token may be when it is first accepted: older ones are signed anew."""
ATTESTATION_LIFE_MAX_S: Final = 400 * 24 * 3600
"""How far `exp` may lie after `iat`: no provider vouches for a figure longer than that."""
CONSENT_LIFE_MAX_S: Final = 5 * 366 * 24 * 3600
"""Longest consent: five years, the longest that loan monitoring needs."""
REQUEST_LIFE_MAX_S: Final = 30 * 24 * 3600
"""How long a lender's consent request may wait for its borrower."""
PAUSE_AGE_MAX_S: Final = 600
"""How old a pause or resumption may be when it arrives: one held back for longer says nothing."""
PROPOSAL_AGE_MAX_S: Final = 7 * 24 * 3600
"""How long before it is published a policy may begin: two operators need time to sign."""
ANSWER_AGE_MAX_S: Final = 600
"""How old an answer may be when it is verified as received now."""
AUDIT_TOKEN_LIFE_MAX_S: Final = 24 * 3600
"""Longest life of an audit token: whoever finds it in a file reads the log that long."""
UNSEAL_LIFE_MAX_S: Final = 7 * 24 * 3600
"""How long a request to unseal a detail stays open: a week, then its reason is looked at anew."""
CERTIFICATION_MAX_S: Final = 366 * 24 * 3600
"""How far ahead a lender certifies a purpose: a year, then it says anew what it asks for."""
TRUST_LIFE_MAX_S: Final = 400 * 24 * 3600
"""Longest life of a trust bundle: a verifier that hears nothing for longer must stop."""

TIMESTAMP_TOLERANCE_S: Final = 180
"""How far a timestamp and the times of entries may disagree: two honest clocks, and a minute to
ask for it."""
TIMESTAMP_GAP_S: Final = 7200
"""How long an entry may wait for a timestamp before an auditor is told: twice the longest time
between two requests."""
WITNESS_LAG_S: Final = 7200
"""How long an entry may wait for the witnesses that a quorum asks for before an auditor is told: as
for a timestamp. They are asked every second."""
TIMESTAMP_EVERY_MAX_S: Final = 3600
"""Longest time between two requests for timestamps."""

METER_DAYS: Final = 401
"""How long an answer counts in the meter, in days: all that rest on one attestation do, for none
lives that long."""
RULE_SPAN_MAX_S: Final = 92 * 24 * 3600
"""Longest window or throttle of a rule of misuse: what is observed is forgotten after a quarter."""

# Counts.
BATCH_ITEMS_MAX: Final = 128
"""Attestations or blinded elements in one call: one executor hop stays short."""
ASK_ITEMS_MAX: Final = 64
"""Questions in one call: their answers, about 10 KiB each, stay far under one message."""
CHAIN_HEADS_MAX: Final = 1000
"""Accounts in one question for chain heads."""
FINDING_ENTRIES_MAX: Final = 32
"""Earlier log entries that a broken rule names: enough to show it, whatever was done how often."""
PERSON_ENTRIES_MAX: Final = 10_000
"""Log entries about one person in one search: more than a life brings, and a reply that fits."""
UNSEALINGS_PENDING_MAX: Final = 16
"""Undecided requests of one auditor to unseal a detail: more, and nobody looks at each."""
UNSEALINGS_PAGE_MAX: Final = 100
"""Requests to unseal a detail in one page."""
UNSEALED_TOLD_MAX: Final = 1000
"""Details given to auditors that a borrower is told of at once, the newest of them."""
EVIDENCE_FINDINGS_MAX: Final = 100
"""Findings that get files in one run, a directory each; the next run writes those of the next."""
ENTRIES_PAGE_MAX: Final = 1000
"""Log entries in one page."""
SNAPSHOT_ATTEMPTS_MAX: Final = 3
"""How often one call is made while a borrower's attestations change under it: they seldom do."""
LADDER_RUNGS_MAX: Final = 32
"""Rungs of one ladder: what any number of questions can reveal is bounded by it."""
CHAIN_STEPS_MAX: Final = 512
"""Hash-chain steps of one token, all ladders: what one verification may cost."""
SCHEMA_CLAIMS_MAX: Final = 64
SCHEMA_FACTS_MAX: Final = 32
POLICY_QUESTIONS_MAX: Final = 32
POLICY_TIERS_MAX: Final = 8
CONSENT_POLICIES_MAX: Final = 8
APPROVALS_MAX: Final = 8
"""Operators who approve one policy; two must."""
BINDERS_MAX: Final = 32
"""Others whose key bindings one provider accepts."""
FORMER_ACCEPTANCES_MAX: Final = 128
"""Acceptances that one provider took back or replaced: ten years of one a month."""
FORMER_QUORUMS_MAX: Final = 128
"""Quorums of witnesses that were replaced or taken away: ten years of one a month."""
DOCUMENT_SIGNATURES_MAX: Final = 8
"""Keys that sign one document of a borrower: one per device or provider."""
OPRF_SHARES_MAX: Final = 8
"""Holders of one OPRF key: every pseudonym needs all of them."""
EVIDENCE_TOKENS_MAX: Final = 64
"""Attestations in one answer: whatever their schemas, it stays under one message."""
PROVIDER_ATTESTATIONS_MAX: Final = 128
"""Current attestations of one provider about one borrower under one schema: more than an answer
has, so that where this keeps one out, no answer is given that could be called complete."""
HELD_PAGE_MAX: Final = 64
"""Attestations that a borrower is shown at once; the next page has the rest."""
OFFER_MONTHS_MAX: Final = 64
"""Durations that one tier offers: they stand in each answer, which is one token."""
DISCLOSURES_MAX: Final = 64
"""Disclosures of one token."""
OBSERVATIONS_MAX: Final = 4096
"""Refused questions of one lender that are kept to be counted, the newest of them: attacks show
much earlier."""
ANOMALY_EVIDENCE_MAX: Final = 32
"""Entries that one raised anomaly names, so participants too: enough to see the pattern, the log
holds the rest."""
NOTE_SIGNATURES_MAX: Final = 64
"""Signature lines of one note; C2SP asks a verifier to accept at least 16."""
TIMESTAMP_AUTHORITIES_MAX: Final = 8
"""Timestamp authorities that a service asks, or that an auditor trusts."""
TIMESTAMPS_PAGE_MAX: Final = 64
"""Timestamps in one page: together with their checkpoints they stay under one message."""
CERTIFICATES_MAX: Final = 16
"""Certificates that one timestamp authority is trusted by."""
TRUST_RECORDS_MAX: Final = 10_000
"""Keys, participants or documents in one trust bundle."""
JSON_DEPTH_MAX: Final = 32
"""Levels of nested JSON: our deepest format has seven."""
TREE_PROOF_HASHES_MAX: Final = 63
"""Hashes of one inclusion or consistency proof: the tree has fewer than 2**63 leaves."""
DIRECTORY_DEPTH_MAX: Final = 256
"""Hashes of one lookup proof: an index has so many bits."""
ROOT_CHAIN_MAX: Final = 256
"""Versions of TUF root metadata that are followed at once: one a month for twenty years."""
KEY_SETS_MAX: Final = 256
"""Key sets of one provider that are followed at once."""
METADATA_ITEMS_MAX: Final = 4
"""TUF metadata files that are published together: a root and what its new keys sign."""
DIRECTORY_MEMBERS_MAX: Final = 4096
"""Current attestations of one schema about one borrower that a lookup names: 128 KiB of ids."""
DIRECTORY_AGE_MAX_S: Final = 60
"""How much older than an answer the root may be that it rests on: for so long at most could an
operator hide what is new."""
QUORUM_RECORDS_MAX: Final = 128
"""Logs, or witnesses and groups, of one quorum file; C2SP asks for at least 32 of each."""

# Sizes, in bytes unless the name says otherwise.
ENTRY_BYTES_MAX: Final = 65_535
"""One log entry: C2SP tlog-tiles gives entries a 16-bit length."""
TOKEN_BYTES_MAX: Final = 32_768
"""One compact JWS."""
AUTHENTICATOR_DATA_BYTES_MAX: Final = 1024
"""What an authenticator says with an assertion: 37 bytes, more with extensions."""
CLIENT_DATA_BYTES_MAX: Final = 2048
"""What a browser says with an assertion: type, challenge, origin."""
PAGE_BODY_BYTES_MAX: Final = 4 * TOKEN_BYTES_MAX
"""What a browser sends to a consent page at once: a request or a consent, and a pass."""
PACKAGE_BYTES_MAX: Final = 65_536
"""One attestation with its values and its seed, before sealing."""
SEALED_BATCH_BYTES_MAX: Final = 3 * 1024 * 1024
"""One sealed batch; a gRPC message stays under 4 MiB."""
DOCUMENT_BYTES_MAX: Final = 262_144
"""One schema, policy or mapping file."""
TRUST_BYTES_MAX: Final = 3 * 1024 * 1024
"""A trust bundle with its documents; a gRPC message stays under 4 MiB."""
ROOT_METADATA_BYTES_MAX: Final = 65_536
"""TUF root metadata, or a provider's signed key set: some hundred keys and signatures."""
TIMESTAMP_METADATA_BYTES_MAX: Final = 16_384
"""TUF timestamp metadata: one file's name, hash and length, and a signature."""
METADATA_BYTES_MAX: Final = 3 * 1024 * 1024
"""TUF targets or snapshot metadata: a line per provider; a gRPC message stays under 4 MiB."""
NOTE_BYTES_MAX: Final = 131_072
TIMESTAMP_BYTES_MAX: Final = 32_768
"""One timestamp (RFC 3161) with the certificates in it: public ones have about six thousand."""
CERTIFICATES_BYTES_MAX: Final = 131_072
"""One file of certificates in PEM."""
QUORUM_FILE_BYTES_MAX: Final = 1024 * 1024
"""One tlog-policy file: a hundred ML-DSA keys and room for comments."""
WITNESS_BODY_BYTES_MAX: Final = NOTE_BYTES_MAX + 4096
"""One request to a witness: a note, and up to 63 hashes before it."""
ANSWER_FILE_BYTES_MAX: Final = 4 * 1024 * 1024
MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""One gRPC message."""
ASK_REPLY_BYTES_MAX: Final = MESSAGE_BYTES_MAX - 64 * 1024
"""The answers in one reply to a batch; what is left has room for every error and tag."""
REFERENCE_CHARS_MAX: Final = 128
"""Case, staff and request references of a lender, in characters."""
SUBJECT_ID_CHARS_MAX: Final = 64
"""The value part of a borrower's id, in characters."""
ACCOUNT_CHARS_MAX: Final = 64
"""A provider's opaque account name, in characters."""
URL_CHARS_MAX: Final = 512
"""The address of a web page, in characters: it goes into links that are scanned."""
TEXT_CHARS_MAX: Final = 253
"""A claim of type text, in characters: as long as a host name."""

INTEGER_MAX: Final = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 8785, RFC 7493)."""


def at_most(size: int, limit: int, what: str) -> None:
    """Refuse `what` when `size` passes `limit`.

    Raises:
        LimitExceeded: reason `LIMIT_EXCEEDED`.
    """
    if size > limit:
        raise LimitExceeded("LIMIT_EXCEEDED", f"{what} exceeds its limit of {limit}")
