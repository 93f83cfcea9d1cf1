"""The directory: leaves, the hashes over buckets of them, and logged roots."""

import sqlalchemy as sa
from alembic import op

revision = "m0007"
down_revision = "m0006"

_Index = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "directory_leaves",
        sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("place", sa.LargeBinary(32), primary_key=True),
        sa.Column("value", sa.LargeBinary(32), nullable=False),
        sa.Column("salt", sa.LargeBinary(16), nullable=False),
        sa.Column("members", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "directory_buckets",
        sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("is_leaf", sa.Boolean, nullable=False),
    )
    op.create_table(
        "directory_roots",
        sa.Column("log_index", _Index, primary_key=True, autoincrement=False),
        sa.Column("root", sa.LargeBinary(32), nullable=False),
        sa.Column("covered", _Index, nullable=False),
    )
