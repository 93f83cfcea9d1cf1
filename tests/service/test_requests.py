"""A request is good for one consent: decided in the commit, and kept with it."""

from __future__ import annotations

import asyncio
import os
import sqlite3

import pytest
from credproof.base.encoding import b64url
from credproof.base.errors import Conflict
from credproof.verification.document import CONSENT, sign_document, verify_document
from credproof_server.checking import check

from tests.service.asking import Asking
from tests.world import POLICY


@pytest.fixture
async def asking(deployment, core) -> Asking:
    made = Asking(deployment, core)
    await made.attest()
    return made


def another(asking: Asking, document: str) -> str:
    """Another consent to the same request."""
    claims = verify_document(document, CONSENT, []).claims
    return sign_document(asking.borrower, CONSENT, {**claims, "jti": b64url(os.urandom(16))})


async def test_of_racing_consents_to_one_request_one_is_registered(asking):
    first = asking.signed_consent(POLICY)
    documents = [first, *(another(asking, first) for _ in range(7))]
    tried = [asking.grant(document) for document in documents]
    found = await asyncio.gather(*tried, return_exceptions=True)
    refusals = [item for item in found if item is not None]
    assert [type(item) for item in refusals] == [Conflict] * 7
    assert {item.reason for item in refusals} == {"REQUEST_USED"}
    assert check(asking.core_directory).rows["consent"] == 1


async def test_a_row_that_names_another_request_is_found(asking):
    await asking.consent(POLICY)
    asking.core.close()
    with sqlite3.connect(asking.core_directory.folder / "log.db") as database:
        database.execute("UPDATE consents SET request = ?", (os.urandom(32),))
    assert check(asking.core_directory).damage


async def test_a_consent_of_before_requests_were_kept_is_sound(asking):
    await asking.consent(POLICY)
    asking.core.close()
    with sqlite3.connect(asking.core_directory.folder / "log.db") as database:
        database.execute("UPDATE consents SET request = NULL")
    assert not check(asking.core_directory).damage
