"""Log entries with their proofs, signed documents, and a timestamp: verbatim."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

from credproof.auditing.page import markup
from credproof.auditing.page.words import Words
from credproof.auditing.stamping import StampProof
from credproof.base.encoding import parse_b64url, time_text
from credproof.base.errors import CredproofError
from credproof.log.merkle import leaf_hash
from credproof.log.proof import TlogProof, format_proof
from credproof.verification.answer import AnswerBundle, Logged
from credproof.verification.document import SEPARATOR


def named_entries(bundle: AnswerBundle, words: Words) -> Iterator[tuple[str, Logged]]:
    """The entries that an answer rests on, with their titles."""
    yield words.say("the_answer"), bundle.logged
    for i, item in enumerate(bundle.tokens, 1):
        yield words.say("token", number=i), item.logged
    for i, binding in enumerate(bundle.bindings, 1):
        yield words.say("binding", number=i), binding.logged
    if bundle.directory is not None:
        yield words.say("directory_root"), bundle.directory.root


def entries(bundle: AnswerBundle, words: Words) -> str:
    """Each entry, its leaf hash and its inclusion proof."""
    parts = [markup.heading(words.say("entries"))]
    for title, place in named_entries(bundle, words):
        told = words.say("entry", title=title, index=place.log_index)
        proof = format_proof(TlogProof(place.log_index, place.hashes, bundle.checkpoint))
        parts.append(f"<h3>{markup.escaped(told)}</h3>" + markup.block(place.line))
        leaf = words.say("leaf", leaf=leaf_hash(place.line).hex())
        parts.append(markup.paragraph(leaf) + markup.block(proof))
    return "".join(parts)


def stamp(found: StampProof | None, words: Words) -> str:
    """By when the answer's entry was logged, by somebody else's clock."""
    title = markup.heading(words.say("timestamp"))
    if found is None:
        return title + markup.paragraph(words.say("no_timestamp"))
    stamped = found.stamped
    told = words.say("stamped", time=time_text(stamped.time), authority=stamped.authority)
    proof, response = format_proof(found.proof), base64.encodebytes(found.kept.response)
    return "".join(
        (
            title,
            markup.paragraph(told),
            markup.block(proof),
            markup.paragraph(words.say("stamp_response")),
            markup.block(response),
        )
    )


def documents(bundle: AnswerBundle, words: Words) -> str:
    """Each signed document verbatim, and what it says."""
    named = [(words.say("the_answer"), bundle.answer), (words.say("the_consent"), bundle.consent)]
    named += [(words.say("token", number=i), t.token) for i, t in enumerate(bundle.tokens, 1)]
    for i, item in enumerate(bundle.bindings, 1):
        named.append((words.say("binding", number=i), item.token))
        named.append((words.say("disclosure", number=i), item.disclosure))
    shown = (
        f"<h3>{markup.escaped(title)}</h3>{markup.block(text)}{_says(text)}"
        for title, text in named
    )
    return markup.heading(words.say("documents")) + "".join(shown)


def _says(text: str) -> str:
    """The payload of a JWS, of several the first's, as JSON; nothing for what is none."""
    parts = text.partition(SEPARATOR)[0].split(".")
    try:
        return markup.data_block(json.loads(parse_b64url(parts[1])))
    except (CredproofError, IndexError, ValueError, RecursionError):
        return ""
