"""What a borrower is shown before signing, generated from terms, policies and schemas.

The same trust bundle and the same terms give the same notice, byte for byte: the consent holds
its digest, and whoever takes the consent makes the notice again.
"""

from __future__ import annotations

import datetime as dt
import hashlib

from credproof.base.errors import Malformed
from credproof.verification.consent import Notice, Terms
from credproof.verification.explain import policy_text, untouched
from credproof.verification.text import Text, fill
from credproof.verification.trust import Trust


def notice_text(trust: Trust, terms: Terms, text: Text) -> str:
    """Who asks, what is proved and what not, why, how often, how long, risks and rights.

    Raises:
        KeyError: the trust bundle does not name the lender or a policy of the terms.
    """
    lender = trust.participants[terms.aud]
    policies = [trust.policies[ref] for ref in terms.policies]
    rest = untouched(policies, text.language)
    until = dt.datetime.fromtimestamp(terms.expires_at, dt.UTC)
    return fill(
        text.notice,
        lender=lender.title,
        lender_id=lender.id,
        licence=lender.licence.number if lender.licence else "-",
        service=terms.via,
        purpose=text.purposes[terms.purpose],
        mode=text.modes[terms.mode],
        until=until.strftime("%Y-%m-%d %H:%M UTC"),
        data_life=terms.data_life_days,
        policies="\n".join(policy_text(policy, text) for policy in policies),
        untouched=text.words["separator"].join(rest) or text.words["nothing"],
    )


def notice_digest(shown: str) -> bytes:
    """SHA-256 of the notice in UTF-8, 32 bytes."""
    return hashlib.sha256(shown.encode("utf-8")).digest()


def is_genuine(notice: Notice, trust: Trust, terms: Terms) -> bool:
    """Whether a notice is what these terms come to, in any text of its language that is pinned."""
    texts = texts_in(trust, notice.language)
    return any(notice_digest(notice_text(trust, terms, text)) == notice.digest for text in texts)


def notice_digests(trust: Trust, terms: Terms) -> dict[str, bytes]:
    """What these terms come to, in the newest text of every language: digests by language."""
    newest = {text.language: text for text in trust.texts.values()}
    return {
        language: notice_digest(notice_text(trust, terms, text))
        for language, text in newest.items()
    }


def texts_in(trust: Trust, language: str) -> list[Text]:
    """Every text of a language that is pinned, newest first."""
    return [text for text in trust.texts.values() if text.language == language][::-1]


def text_in(trust: Trust, language: str) -> Text:
    """The newest text of a language.

    Raises:
        Malformed: `BAD_LANGUAGE`.
    """
    found = texts_in(trust, language)
    if not found:
        raise Malformed("BAD_LANGUAGE", "there is no notice in this language: take zh or en")
    return found[0]
