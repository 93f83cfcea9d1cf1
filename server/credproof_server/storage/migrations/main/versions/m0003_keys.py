"""Borrowers' keys that were reported lost, and further signatures under consents."""

import sqlalchemy as sa
from alembic import op

revision = "m0003"
down_revision = "m0002"

_Index = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "ended_keys",
        sa.Column("log_index", _Index, primary_key=True, autoincrement=False),
        sa.Column("sub", sa.LargeBinary(32), nullable=False, index=True),
        sa.Column("kid", sa.String(32), nullable=False),
    )
    op.create_table(
        "signatures",
        sa.Column("log_index", _Index, primary_key=True, autoincrement=False),
        sa.Column("consent_id", sa.LargeBinary(32), nullable=False, index=True),
        sa.Column("sub", sa.LargeBinary(32), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
