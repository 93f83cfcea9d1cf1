"""What a lender asks and checks: policies, consent, trust, answers."""
