"""The keys that an answer rests on, in full, and since when the registry has listed them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from credproof.attestation.token import parse_token
from credproof.auditing.page import markup
from credproof.auditing.page.words import Words
from credproof.base import jws
from credproof.base.encoding import b64url, canonical_json, time_text
from credproof.base.errors import CredproofError
from credproof.base.keys import DatedKey, PublicKey
from credproof.base.limits import TRUST_BYTES_MAX
from credproof.verification.answer import AnswerBundle
from credproof.verification.consent import verify_consent
from credproof.verification.participant import NEVER
from credproof.verification.trust import Trust


@dataclass(frozen=True, slots=True)
class Key:
    """A public key in full. `whose` is the name of a phrase; `name` completes it."""

    whose: str
    name: str
    shown: str
    fingerprint: str = field(default="", compare=False)
    dates: tuple[int, int] = field(default=(0, NEVER), compare=False)


def parties(bundle: AnswerBundle, lender: str) -> frozenset[str]:
    """Whose keys count for an answer: its lender's, and those of who signed its tokens."""
    found = {lender}
    tokens = [item.token for item in bundle.tokens] + [item.token for item in bundle.bindings]
    for token in tokens:
        with suppress(CredproofError):  # what is no token is told by its check
            found.add(parse_token(token).issuer)
    return frozenset(found)


def keys_of(trust: Trust, named: Collection[str]) -> Iterator[Key]:
    """The keys of log, service, witnesses and operators, and of the participants named."""
    bundle = trust.bundle
    for vkey in (bundle.log_vkey, *bundle.old_logs):
        yield Key("key_log", vkey.partition("+")[0], vkey)
    if bundle.log_cosigner:
        yield Key("key_cosigner", bundle.log_cosigner.partition("+")[0], bundle.log_cosigner)
    yield from (_dated("key_answers", bundle.domain, key) for key in bundle.answer_keys)
    yield Key("key_directory", bundle.domain, b64url(bundle.directory_key))
    for pseudonyms in bundle.oprf_keys:
        shown = canonical_json(pseudonyms.to_json()).decode()
        yield Key("key_pseudonyms", bundle.domain, shown, pseudonyms.id)
    for witness in trust.quorum.witnesses.values():
        yield Key("key_witness", witness.name, str(witness.key))
    for item in bundle.participants:
        if item.id in named or item.role == "operator":  # operators approve policies
            yield from (_dated(f"key_{item.role}", item.id, key) for key in item.keys)


def _dated(whose: str, name: str, key: DatedKey) -> Key:
    dates = key.not_before, key.not_after
    return Key(whose, name, jwk_text(key.public), key.public.kid, dates)


def jwk_text(key: PublicKey) -> str:
    """A key as JWK, in one line."""
    return canonical_json(key.jwk()).decode()


def section(
    bundle: AnswerBundle,
    newest: Trust,
    kept: Sequence[Trust],
    roots: Sequence[PublicKey],
    named: frozenset[str],
    words: Words,
) -> str:
    """Algorithms, keys and their history."""
    parts = [
        markup.heading(words.say("keys")),
        markup.paragraph(words.say("algorithms")),
        markup.paragraph(_coverage(newest, kept, words)),
        _roots(newest, roots, words),
        *_listed(newest, kept, named, words),
        _borrower(bundle, newest, words),
    ]
    if newest.bundle.quorum:
        parts += [markup.paragraph(words.say("quorum")), markup.block(newest.bundle.quorum)]
    return "".join(parts)


def _coverage(newest: Trust, kept: Sequence[Trust], words: Words) -> str:
    """Which versions of the registry the history is taken from."""
    if not kept:
        return words.say("no_history", newest=newest.bundle.version)
    first, last = kept[0].bundle, kept[-1].bundle
    at = time_text(last.issued_at)
    told = words.say("history", first=first.version, last=last.version, at=at)
    if newest.bundle.version > last.version:
        told += words.say("history_ends", last=last.version, newest=newest.bundle.version)
    return told


def _roots(newest: Trust, roots: Sequence[PublicKey], words: Words) -> str:
    signer = jws.parse(newest.token, jws.TRUST, limit=TRUST_BYTES_MAX).kid
    parts = []
    for root in roots:
        phrase = "root_signed" if root.kid == signer else "root_other"
        told = words.say(phrase, fingerprint=root.kid, version=newest.bundle.version)
        parts.append(markup.paragraph(told) + markup.block(jwk_text(root)))
    return "".join(parts)


def _listed(
    newest: Trust, kept: Sequence[Trust], named: Collection[str], words: Words
) -> Iterator[str]:
    versions: dict[Key, list[Trust]] = {}
    for trust in kept:
        for key in keys_of(trust, named):
            versions.setdefault(key, []).append(trust)
    current = {key: key for key in keys_of(newest, named)}
    for key in dict.fromkeys((*versions, *current)):
        shown = current.get(key, key)
        since = since_text(versions.get(key, []), key in current, newest, kept, words)
        told = words.say(key.whose, name=key.name) + _named(shown, words)
        yield markup.paragraph(words.say("stop").join((told, since))) + markup.block(key.shown)


def _named(key: Key, words: Words) -> str:
    """The key's fingerprint and dates, where it has them."""
    named = words.say("fingerprint", fingerprint=key.fingerprint) if key.fingerprint else ""
    if key.dates == (0, NEVER):
        return named
    begin, end = key.dates
    return named + words.say("dates", begin=time_text(begin), end=words.until(end))


def since_text(
    listed: Sequence[Trust],
    is_current: bool,
    newest: Trust,
    kept: Sequence[Trust],
    words: Words,
) -> str:
    """From which version to which the registry had a key, as far as it is known here."""
    now = newest.bundle.version
    if not kept:
        return words.say("since_unknown", newest=now)
    last_kept = kept[-1].bundle.version
    if not listed:
        return words.say("since_later", first=last_kept + 1, newest=now)
    first, last = listed[0].bundle, listed[-1].bundle
    told = words.say("since", version=first.version, at=time_text(first.issued_at))
    return told if is_current else told + words.say("listed_last", version=last.version)


def _borrower(bundle: AnswerBundle, trust: Trust, words: Words) -> str:
    """The borrower's keys, which the consent itself carries."""
    try:
        found = verify_consent(bundle.consent, trust.bundle.relying_parties).keys
    except CredproofError:
        return markup.paragraph(words.say("key_borrower_unknown"))
    shown = (markup.block(jwk_text(key)) for key in found)
    return markup.paragraph(words.say("key_borrower")) + "".join(shown)
