"""The request that each consent answers: it is good for one consent of its borrower."""

import sqlalchemy as sa
from alembic import op

revision = "m0004"
down_revision = "m0003"


def upgrade() -> None:
    op.add_column("consents", sa.Column("request", sa.LargeBinary(32), nullable=True))
    op.create_index("one_consent_per_request", "consents", ["sub", "request"], unique=True)
