"""Runs the migrations of this store on the connection that `engine.migrate` passes in."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], render_as_batch=True)
context.run_migrations()
