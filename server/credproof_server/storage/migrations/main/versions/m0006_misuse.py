"""Misuse monitoring: refused questions and counts that rules look at, and what was raised."""

import sqlalchemy as sa
from alembic import op

revision = "m0006"
down_revision = "m0005"

_Index = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "refusals",
        sa.Column("log_index", _Index, primary_key=True, autoincrement=False),
        sa.Column("lender", sa.String(40), nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("sub", sa.LargeBinary(32), nullable=False),
        sa.Column("consent_id", sa.LargeBinary(32), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
    )
    op.create_index("refusals_of_lender", "refusals", ["lender", "time"])
    op.create_table(
        "activity",
        sa.Column("lender", sa.String(40), primary_key=True),
        sa.Column("span", sa.Integer, primary_key=True),
        sa.Column("start", sa.BigInteger, primary_key=True),
        sa.Column("questions", sa.BigInteger, nullable=False),
        sa.Column("answered", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "anomalies",
        sa.Column("log_index", _Index, primary_key=True, autoincrement=False),
        sa.Column("rule", sa.String(40), nullable=False),
        sa.Column("participant", sa.String(40), nullable=True, index=True),
        sa.Column("sub", sa.LargeBinary(32), nullable=True, index=True),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("evaluations", sa.Boolean, nullable=False),
        sa.Column("lifted_index", _Index, nullable=True),
    )
    op.create_index("answers_by_time", "answers", ["time", "sub", "lender", "policy_digest"])
