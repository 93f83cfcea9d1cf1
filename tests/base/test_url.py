"""Addresses that people are sent to: nothing in them says another place than one sees."""

from __future__ import annotations

import pytest
from credproof.base.errors import CredproofError
from credproof.base.limits import URL_CHARS_MAX
from credproof.base.url import origin_of, require_url

GOOD = {
    "https://shop.example": "https://shop.example",
    "https://shop.example/loan?case=7&x=%E4": "https://shop.example",
    "https://shop.example:8443/a@b": "https://shop.example:8443",
    "https://shop.example?x": "https://shop.example",
    "http://localhost:7480/done": "http://localhost:7480",
    "http://127.0.0.1:1": "http://127.0.0.1:1",
}
BAD = [
    "",
    "shop.example",
    "//shop.example",
    "http://shop.example",
    "http://localhost.evil.example",
    "http://127.0.0.1.evil.example",
    "https://shop.example@evil.example",
    "https://user:secret@shop.example",
    "https://shop.example\\@evil.example",
    "https://shop.example#part",
    "https://shop.example/#part",
    "https://SHOP.example",
    "https://商店.example",
    "https://shop.example/贷款",
    "https://shop.example/a b",
    "https://shop.example/\n",
    "https://shop.example\n",
    "https://shop.example:0",
    "https://shop.example:123456",
    "https://-shop.example",
    "https://",
    "javascript:alert(1)",
    "data:text/html,hello",
]


@pytest.mark.parametrize("url", GOOD)
def test_a_plain_address_leads_where_it_says(url):
    assert (require_url(url), origin_of(url)) == (url, GOOD[url])


@pytest.mark.parametrize("url", BAD)
def test_any_other_spelling_is_refused(url):
    with pytest.raises(CredproofError) as caught:
        origin_of(url)
    assert caught.value.reason == "BAD_URL"


def test_an_address_is_not_too_long():
    longest = "https://a.example/".ljust(URL_CHARS_MAX, "x")
    assert require_url(longest)
    with pytest.raises(CredproofError) as caught:
        require_url(longest + "x")
    assert caught.value.reason == "LIMIT_EXCEEDED"
