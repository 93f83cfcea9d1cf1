"""Pauses and resumptions of consents."""

import sqlalchemy as sa
from alembic import op

revision = "m0005"
down_revision = "m0004"

_Index = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "pauses",
        sa.Column("log_index", _Index, primary_key=True, autoincrement=False),
        sa.Column("document_id", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("consent_id", sa.LargeBinary(32), nullable=False, index=True),
        sa.Column("sub", sa.LargeBinary(32), nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("issued_at", sa.BigInteger, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
