"""Timestamps of checkpoints by others."""

import sqlalchemy as sa
from alembic import op

revision = "m0008"
down_revision = "m0007"

_Index = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "timestamps",
        sa.Column("tree_size", _Index, primary_key=True, autoincrement=False),
        sa.Column("authority", sa.String(40), primary_key=True),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("note", sa.LargeBinary, nullable=False),
        sa.Column("response", sa.LargeBinary, nullable=False),
    )
