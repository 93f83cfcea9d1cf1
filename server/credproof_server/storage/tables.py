"""The tables, one set for every database.

Nothing here is readable by a thief of the database: subjects are pseudonyms, figures and
tokens are ciphertext under the subject's data key, which lies in another store (`vault`).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    false,
)

metadata = MetaData()
vault_metadata = MetaData()

_Index = BigInteger().with_variant(Integer, "sqlite")

entries = Table(
    "entries",
    metadata,
    Column("log_index", _Index, primary_key=True, autoincrement=False),
    Column("line", LargeBinary, nullable=False),
    Column("leaf", LargeBinary(32), nullable=False),
)
"""The log: one canonical JSON line per entry, and its RFC 9162 leaf hash."""

commits = Table(
    "commits",
    metadata,
    Column("tree_size", _Index, primary_key=True, autoincrement=False),
    Column("root", LargeBinary(32), nullable=False),
)
"""Size and root after each commit, written with its entries and signed only afterwards."""

trust_bundles = Table(
    "trust_bundles",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("token", LargeBinary, nullable=False),
    Column("log_index", _Index, nullable=False),
)

documents = Table(
    "documents",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
"""Schemas and policies, by SHA-256 of their canonical JSON."""

attestations = Table(
    "attestations",
    metadata,
    Column("token_id", LargeBinary(32), primary_key=True),
    Column("chain_id", LargeBinary(32), nullable=False),
    Column("seq", _Index, nullable=False),
    Column("provider", String(40), nullable=False),
    Column("schema_digest", LargeBinary(32), nullable=False),
    Column("sub", LargeBinary(32), nullable=False),
    Column("current", Boolean, nullable=False),
    Column("log_index", _Index, nullable=False, unique=True),
    Column("withdrawn_index", _Index, nullable=True),
    Column("sealed", LargeBinary, nullable=False),
    UniqueConstraint("chain_id", "seq", name="one_token_per_seq"),
    Index("attestations_of_subject", "sub", "current"),
)
"""Accepted attestations. `chain_id` is a keyed digest of provider, schema and account; `current`
are the newest of their chains, which count unless they were withdrawn."""

withdrawals = Table(
    "withdrawals",
    metadata,
    Column("token_id", LargeBinary(32), primary_key=True),
    Column("token", LargeBinary, nullable=False),
    Column("log_index", _Index, nullable=False, unique=True),
)
"""The providers' signed withdrawals, by the id of the attestation's token."""

ended_keys = Table(
    "ended_keys",
    metadata,
    Column("log_index", _Index, primary_key=True, autoincrement=False),
    Column("sub", LargeBinary(32), nullable=False, index=True),
    Column("kid", String(32), nullable=False),
)
"""Borrowers' keys that were reported lost, by fingerprint: no binding before `log_index` counts."""

conflicts = Table(
    "conflicts",
    metadata,
    Column("token_id", LargeBinary(32), primary_key=True),
    Column("accepted_id", LargeBinary(32), nullable=False),
    Column("sub", LargeBinary(32), nullable=False),
    Column("log_index", _Index, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""Evidence of equivocation: a second token of a provider with the same `seq`."""

consents = Table(
    "consents",
    metadata,
    Column("consent_id", LargeBinary(32), primary_key=True),
    Column("sub", LargeBinary(32), nullable=False, index=True),
    Column("lender", String(40), nullable=False),
    Column("log_index", _Index, nullable=False, unique=True),
    Column("revoked_index", _Index, nullable=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("request", LargeBinary(32), nullable=True),
    Index("one_consent_per_request", "sub", "request", unique=True),
)
"""Consents that were registered. `request` is the id of the lender's request, null in rows of
before it was kept."""

signatures = Table(
    "signatures",
    metadata,
    Column("log_index", _Index, primary_key=True, autoincrement=False),
    Column("consent_id", LargeBinary(32), nullable=False, index=True),
    Column("sub", LargeBinary(32), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""Further signatures under consents, each by a key that had not signed before."""

pauses = Table(
    "pauses",
    metadata,
    Column("log_index", _Index, primary_key=True, autoincrement=False),
    Column("document_id", LargeBinary(32), nullable=False, unique=True),
    Column("consent_id", LargeBinary(32), nullable=False, index=True),
    Column("sub", LargeBinary(32), nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""Pauses and resumptions (`paused` false); the last one in the log decides about its consent."""

answers = Table(
    "answers",
    metadata,
    Column("lender", String(40), primary_key=True),
    Column("request_id", LargeBinary(16), primary_key=True),
    Column("request_digest", LargeBinary(32), nullable=False),
    Column("consent_id", LargeBinary(32), nullable=False),
    Column("policy_digest", LargeBinary(32), nullable=False),
    Column("sub", LargeBinary(32), nullable=False, index=True),
    Column("time", BigInteger, nullable=False),
    Column("log_index", _Index, nullable=False, unique=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("verdicts", LargeBinary, nullable=True),
    Index("answers_under_consent", "consent_id", "policy_digest", "time"),
    Index("answers_by_time", "time", "sub", "lender", "policy_digest"),
)
"""Answers given; the same lender and request id get the same bytes again. `verdicts` are sealed
too, null in rows of before they were kept."""

evaluations = Table(
    "evaluations",
    metadata,
    Column("participant", String(40), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("count", BigInteger, nullable=False),
)
"""OPRF evaluations per participant and UTC day."""

refusals = Table(
    "refusals",
    metadata,
    Column("log_index", _Index, primary_key=True, autoincrement=False),
    Column("lender", String(40), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("sub", LargeBinary(32), nullable=False),
    Column("consent_id", LargeBinary(32), nullable=False),
    Column("reason", String(40), nullable=False),
    Index("refusals_of_lender", "lender", "time"),
)
"""Refused questions, by the log index of the refusal, as long as a rule of misuse looks at them."""

activity = Table(
    "activity",
    metadata,
    Column("lender", String(40), primary_key=True),
    Column("span", Integer, primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("questions", BigInteger, nullable=False),
    Column("answered", BigInteger, nullable=False),
)
"""How many questions a lender put in a minute or a day (`span`, in seconds), as long as any rule
looks back."""

anomalies = Table(
    "anomalies",
    metadata,
    Column("log_index", _Index, primary_key=True, autoincrement=False),
    Column("rule", String(40), nullable=False),
    Column("participant", String(40), nullable=True, index=True),
    Column("sub", LargeBinary(32), nullable=True, index=True),
    Column("time", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("evaluations", Boolean, nullable=False),
    Column("lifted_index", _Index, nullable=True),
)
"""What was raised: the participant whose conduct it is (none where several act together), the
borrower where it is about one, and until when it throttles."""

unsealings = Table(
    "unsealings",
    metadata,
    Column("log_index", _Index, primary_key=True, autoincrement=False),
    Column("request_id", LargeBinary(32), nullable=False, unique=True),
    Column("auditor", String(40), nullable=False, index=True),
    Column("entry_index", _Index, nullable=False),
    Column("detail", String(40), nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("sub", LargeBinary(32), nullable=False, index=True),
    Column("request", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""Auditors' requests to unseal a detail of the entry at `entry_index`, open until a time. The
reason is sealed under the data key of the borrower whom that entry is about."""

unseal_decisions = Table(
    "unseal_decisions",
    metadata,
    Column("log_index", _Index, primary_key=True, autoincrement=False),
    Column("request_id", LargeBinary(32), nullable=False, unique=True),
    Column("auditor", String(40), nullable=False),
    Column("approves", Boolean, nullable=False),
    Column("sub", LargeBinary(32), nullable=False, index=True),
    Column("decision", LargeBinary, nullable=False),
)
"""What a second auditor said to a request."""

unsealed_details = Table(
    "unsealed_details",
    metadata,
    Column("log_index", _Index, primary_key=True, autoincrement=False),
    Column("request_id", LargeBinary(32), nullable=False),
    Column("auditor", String(40), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("sub", LargeBinary(32), nullable=False, index=True),
    UniqueConstraint("request_id", "auditor", name="given_once_to_each"),
)
"""To whom the detail of a request was given."""

directory_leaves = Table(
    "directory_leaves",
    metadata,
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("place", LargeBinary(32), primary_key=True),
    Column("value", LargeBinary(32), nullable=False),
    Column("salt", LargeBinary(16), nullable=False),
    Column("members", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
"""The directory as of its newest root: each index (`place`) with the token ids at it, joined, and
the salt of the entry that last changed them. `bucket` is the number that its first bits make."""

directory_buckets = Table(
    "directory_buckets",
    metadata,
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary(32), nullable=False),
    Column("is_leaf", Boolean, nullable=False),
)
"""The hash over each bucket of leaves, and whether it is that of one leaf."""

directory_roots = Table(
    "directory_roots",
    metadata,
    Column("log_index", _Index, primary_key=True, autoincrement=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("covered", _Index, nullable=False),
)
"""The logged roots of the directory; each covers the first `covered` entries."""

timestamps = Table(
    "timestamps",
    metadata,
    Column("tree_size", _Index, primary_key=True, autoincrement=False),
    Column("authority", String(40), primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("note", LargeBinary, nullable=False),
    Column("response", LargeBinary, nullable=False),
)
"""Timestamps (RFC 3161) of signed checkpoints, as they came and verified."""

data_keys = Table(
    "data_keys",
    vault_metadata,
    Column("sub", LargeBinary(32), primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("erased", Boolean, nullable=False, server_default=false()),
)
"""The data key of each subject, wrapped by the service's key-encryption key."""
