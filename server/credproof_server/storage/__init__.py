"""Where things are kept: tables, migrations, the engine, encryption at rest."""
