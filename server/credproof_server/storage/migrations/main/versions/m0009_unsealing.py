"""Unsealing: verdicts kept with their answers; requests, decisions, and what was given."""

import sqlalchemy as sa
from alembic import op

revision = "m0009"
down_revision = "m0008"

_Index = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.add_column("answers", sa.Column("verdicts", sa.LargeBinary, nullable=True))
    op.create_table(
        "unsealings",
        sa.Column("log_index", _Index, primary_key=True, autoincrement=False),
        sa.Column("request_id", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("auditor", sa.String(40), nullable=False, index=True),
        sa.Column("entry_index", _Index, nullable=False),
        sa.Column("detail", sa.String(40), nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("sub", sa.LargeBinary(32), nullable=False, index=True),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "unseal_decisions",
        sa.Column("log_index", _Index, primary_key=True, autoincrement=False),
        sa.Column("request_id", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("auditor", sa.String(40), nullable=False),
        sa.Column("approves", sa.Boolean, nullable=False),
        sa.Column("sub", sa.LargeBinary(32), nullable=False, index=True),
        sa.Column("decision", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "unsealed_details",
        sa.Column("log_index", _Index, primary_key=True, autoincrement=False),
        sa.Column("request_id", sa.LargeBinary(32), nullable=False),
        sa.Column("auditor", sa.String(40), nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("sub", sa.LargeBinary(32), nullable=False, index=True),
        sa.UniqueConstraint("request_id", "auditor", name="given_once_to_each"),
    )
