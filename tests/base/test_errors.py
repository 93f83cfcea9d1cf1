"""Errors: they cross processes as they are."""

from __future__ import annotations

import pickle

from credproof.base.errors import Conflict, VerificationFailed


def test_an_error_of_another_process_arrives_as_it_was_raised_there():
    error = VerificationFailed("BAD_SIGNATURE", "signature does not verify", step=3)
    found = pickle.loads(pickle.dumps(error))

    assert type(found) is VerificationFailed
    assert (found.reason, found.message, found.step) == ("BAD_SIGNATURE", str(error), 3)
    assert pickle.loads(pickle.dumps(Conflict("A", "b"))).step is None
