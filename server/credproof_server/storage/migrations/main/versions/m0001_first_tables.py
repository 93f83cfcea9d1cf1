"""Log, trust bundles, attestations, conflicts, consents, answers, evaluations."""

import sqlalchemy as sa
from alembic import op

revision = "m0001"
down_revision = None

_Index = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _bytes(name: str, size: int | None = 32, *, primary_key: bool = False) -> sa.Column:
    return sa.Column(name, sa.LargeBinary(size), primary_key=primary_key, nullable=False)


def upgrade() -> None:
    _log()
    _attestations()
    _consents_and_answers()


def _log() -> None:
    op.create_table(
        "entries",
        sa.Column("log_index", _Index, primary_key=True, autoincrement=False),
        _bytes("line", None),
        _bytes("leaf"),
    )
    op.create_table(
        "commits",
        sa.Column("tree_size", _Index, primary_key=True, autoincrement=False),
        _bytes("root"),
    )
    op.create_table(
        "trust_bundles",
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        _bytes("token", None),
        sa.Column("log_index", _Index, nullable=False),
    )
    op.create_table("documents", _bytes("digest", primary_key=True), _bytes("content", None))


def _attestations() -> None:
    op.create_table(
        "attestations",
        _bytes("token_id", primary_key=True),
        _bytes("chain_id"),
        sa.Column("seq", _Index, nullable=False),
        sa.Column("provider", sa.String(40), nullable=False),
        _bytes("schema_digest"),
        _bytes("sub"),
        sa.Column("current", sa.Boolean, nullable=False),
        sa.Column("log_index", _Index, nullable=False, unique=True),
        _bytes("sealed", None),
        sa.UniqueConstraint("chain_id", "seq", name="one_token_per_seq"),
    )
    op.create_index("attestations_of_subject", "attestations", ["sub", "current"])
    op.create_table(
        "conflicts",
        _bytes("token_id", primary_key=True),
        _bytes("accepted_id"),
        _bytes("sub"),
        sa.Column("log_index", _Index, nullable=False),
        _bytes("sealed", None),
    )


def _consents_and_answers() -> None:
    op.create_table(
        "consents",
        _bytes("consent_id", primary_key=True),
        sa.Column("sub", sa.LargeBinary(32), nullable=False, index=True),
        sa.Column("lender", sa.String(40), nullable=False),
        sa.Column("log_index", _Index, nullable=False, unique=True),
        sa.Column("revoked_index", _Index, nullable=True),
        _bytes("sealed", None),
    )
    op.create_table(
        "answers",
        sa.Column("lender", sa.String(40), primary_key=True),
        _bytes("request_id", 16, primary_key=True),
        _bytes("request_digest"),
        _bytes("consent_id"),
        _bytes("policy_digest"),
        sa.Column("sub", sa.LargeBinary(32), nullable=False, index=True),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("log_index", _Index, nullable=False, unique=True),
        _bytes("sealed", None),
    )
    op.create_index("answers_under_consent", "answers", ["consent_id", "policy_digest", "time"])
    op.create_table(
        "evaluations",
        sa.Column("participant", sa.String(40), primary_key=True),
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
    )
