"""Alembic migrations, one folder per store; `init` and `upgrade` run them."""
