"""What an auditor keeps and makes of a log: the index, following it, evidence, reports."""
