"""Withdrawals of attestations."""

import sqlalchemy as sa
from alembic import op

revision = "m0002"
down_revision = "m0001"

_Index = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.add_column("attestations", sa.Column("withdrawn_index", _Index, nullable=True))
    op.create_table(
        "withdrawals",
        sa.Column("token_id", sa.LargeBinary(32), primary_key=True, nullable=False),
        sa.Column("token", sa.LargeBinary, nullable=False),
        sa.Column("log_index", _Index, nullable=False, unique=True),
    )
