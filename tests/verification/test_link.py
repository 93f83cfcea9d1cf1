"""Links carry a request whole, or not at all."""

from __future__ import annotations

import pytest
from credproof.base.errors import CredproofError
from credproof.verification.link import is_link, link_to, request_of

from tests.world import World

REQUEST = World().request()
PAGE = "https://consent.example/agree?from=shop"


def test_a_link_gives_back_the_request_that_it_was_made_of():
    link = link_to(PAGE, REQUEST)
    assert is_link(link)
    assert request_of(link) == REQUEST


def test_a_server_gets_to_see_nothing_of_the_request():
    before, _, fragment = link_to(PAGE, REQUEST).partition("#")
    assert before == PAGE
    assert fragment == f"request={REQUEST}"


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        (PAGE, "NOT_A_LINK"),
        (f"{PAGE}#request=", "NOT_A_LINK"),
        (f"{PAGE}#request={REQUEST.rpartition('.')[0]}", "NOT_A_LINK"),
        (f"{PAGE}#request={REQUEST}&more=1", "NOT_A_LINK"),
        (f"{PAGE}#consent={REQUEST}", "NOT_A_LINK"),
        (f"{PAGE}?request={REQUEST}", "NOT_A_LINK"),
        (f"http://consent.example#request={REQUEST}", "BAD_URL"),
        (link_to(PAGE, "x" * 40_000), "LIMIT_EXCEEDED"),
    ],
)
def test_what_is_cut_or_no_such_link_is_refused(link, reason):
    with pytest.raises(CredproofError) as caught:
        request_of(link)
    assert caught.value.reason == reason


def test_no_link_is_made_to_a_page_that_could_hide_where_it_is():
    with pytest.raises(CredproofError) as caught:
        link_to("https://consent.example@evil.example", REQUEST)
    assert caught.value.reason == "BAD_URL"


def test_the_name_of_a_file_is_no_link():
    assert not is_link("https.request")
    assert not is_link("client-7.request")
