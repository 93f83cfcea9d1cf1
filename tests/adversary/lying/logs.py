"""Lies in the log, the directory, the registry and receipts."""

from __future__ import annotations

from dataclasses import replace

from credproof.base.encoding import b64url
from credproof.base.limits import CLOCK_SKEW_S, DIRECTORY_AGE_MAX_S
from credproof.log.checkpoint import Checkpoint, sign_checkpoint
from credproof.log.entry import parse_entry
from credproof.verification.answer import ENTRY_ATTESTATION
from credproof.verification.filing import ENTRY_WITHDRAWN

from tests.adversary.lying.parties import Alarms
from tests.adversary.lying.server import USES, Version, entry_of, story_of
from tests.adversary.lying.stage import Stage, lie
from tests.world import FAIR, GOOD, signer_of

# -- another log than the one that was signed, or seen


def audited(stage: Stage) -> list[bytes]:
    """The lines that the auditor has seen, to the last one."""
    stage.attested()
    assert stage.parties.audit() == set()
    return list(stage.server.log.lines)


@lie("another past for the auditor", ("auditor", "LOG_FORKED"))
def _(stage: Stage) -> Alarms:
    lines = audited(stage)
    return stage.parties.audit(log=stage.rewritten(len(lines) // 2, actor="somebody"))


@lie("the end of the log is cut off", ("auditor", "LOG_SHRANK"))
def _(stage: Stage) -> Alarms:
    lines = audited(stage)
    return stage.parties.audit(log=story_of(stage.server.log, lines[:-1]), cosigned=b"")


@lie("an entry is held back", ("auditor", "SEQ_GAP"))
def _(stage: Stage) -> Alarms:
    seen = len(audited(stage))
    stage.good_and_bad()
    stage.server.world.close_epoch()
    lines = stage.server.log.lines
    return stage.parties.audit(lines=[*lines[: seen + 1], *lines[seen + 2 :]])


@lie("an entry is given that was not signed", ("auditor", "ENTRY_CHANGED"))
def _(stage: Stage) -> Alarms:
    seen = len(audited(stage))
    stage.good_and_bad()
    lines = list(stage.server.log.lines)
    lines[seen] = entry_of(stage.server.log, seen, actor="somebody")
    return stage.parties.audit(lines=lines)


@lie("a root of the log that no entries make", ("auditor", "LOG_FORKED"))
def _(stage: Stage) -> Alarms:
    audited(stage)
    stage.good_and_bad()
    log = stage.server.log
    made = Checkpoint(log.signer.name, log.tree.size, stage.server.fresh())
    return stage.parties.audit(note=sign_checkpoint(made, [log.signer]))


def signed_on(stage: Stage, **changes: object) -> Alarms:
    """The auditor hears of one more entry, which is signed as it is."""
    log = stage.server.log
    made = story_of(log, log.lines)
    made.append("answer.refused", "lend", bytes(32))
    told = story_of(log, [*log.lines, entry_of(made, len(log.lines), **changes)])
    return stage.parties.audit(log=told)


@lie("an entry that is dated back", ("auditor", "TIME_WENT_BACK"))
def _(stage: Stage) -> Alarms:
    audited(stage)
    return signed_on(stage, time=stage.server.world.now - 1)


@lie("an entry that is dated ahead", ("auditor", "TIME_IN_FUTURE"))
def _(stage: Stage) -> Alarms:
    """All that is logged until then would have to bear a later time."""
    log, ahead = stage.server.log, CLOCK_SKEW_S + 1
    tag = {"tag": b64url(bytes(32))}
    digest, time = stage.server.fresh(), stage.server.world.now + ahead
    index = log.append("consent.granted", "borrower", digest, time=time, fields=tag)
    stage.broken[index] = "TIME_IN_FUTURE"
    assert stage.parties.audit() == set()
    stage.server.pass_time(ahead)
    return set()


@lie("an entry that does not continue the chain", ("auditor", "CHAIN_BROKEN"))
def _(stage: Stage) -> Alarms:
    audited(stage)
    return signed_on(stage, prev=bytes(32))


# -- witnesses


@lie("witnesses are asked to sign another past", ("witness", "BAD_CONSISTENCY_PROOF"))
def _(stage: Stage) -> Alarms:
    stage.attested()
    stage.server.witness()
    stage.server.attest(stage.person)
    return stage.parties.cosign(stage.rewritten(1, actor="somebody"))


@lie("witnesses are asked to sign a log that was cut", ("witness", "OTHER_SIZE"))
def _(stage: Stage) -> Alarms:
    stage.attested()
    stage.server.witness()
    log = stage.server.log
    return stage.parties.cosign(story_of(log, log.lines[:-1]))


# -- the registry


@lie("a version of the registry is held back", ("auditor", "REGISTRY_WITHHELD"))
def _(stage: Stage) -> Alarms:
    audited(stage)
    stage.server.publish()
    return stage.parties.audit(versions=stage.server.versions[:-1])


@lie("another registry than the log names", ("auditor", "OTHER_TRUST"))
def _(stage: Stage) -> Alarms:
    audited(stage)
    index = stage.server.publish()
    *before, newest = stage.server.versions
    number = newest.package.verify(stage.server.world.root.public, at=0).bundle.version
    other = stage.server.package(version=number, participants=(stage.server.world.lender(),))
    return stage.parties.audit(versions=[*before, Version(other, index)])


# -- receipts and places


@lie("a receipt for another borrower", ("provider", "MISFILED"))
def _(stage: Stage) -> Alarms:
    return stage.parties.receipt(stage.attested(), sub=stage.server.about(stage.other).sub)


@lie("a receipt for another attestation", ("provider", "MISFILED"))
def _(stage: Stage) -> Alarms:
    held = stage.attested()
    return stage.parties.receipt(held, sub=held.statement.sub, token_id=stage.server.fresh())


@lie("an attestation is filed at another place", ("provider", "OTHER_INDEX"))
def _(stage: Stage) -> Alarms:
    """It would be missing where the borrower is looked up."""
    server, world = stage.server, stage.server.world
    server.withdraw(stage.person, "bank")
    honest, wrong = world.place, server.fresh()
    world.place = lambda _made: wrong
    server.attest(stage.person, "bank")
    raised = stage.parties.self_check("bank")
    server.withdraw(stage.person, "bank")
    world.place = honest
    return raised


@lie("an attestation does not take the one before it out", ("provider", "NOT_REPLACED"))
def _(stage: Stage) -> Alarms:
    old = stage.attested()
    del stage.person.accounts["bank"]
    stage.server.attest(stage.person, "bank", FAIR)
    stage.person.before.append(old)
    raised = stage.parties.self_check("bank")
    stage.server.take_back(old)
    stage.server.withdrawn.add(old.token_id)
    return raised


@lie("an attestation was never logged", ("provider", "OTHER_ENTRY"))
def _(stage: Stage) -> Alarms:
    stage.attested()
    return stage.parties.self_check("bank", log_index=0)


@lie(
    "an attestation that was never made takes the place of a bad one",
    ("lender", "NOT_COMPLETE"),
    ("provider", "NOT_REPLACED"),
)
def _(stage: Stage) -> Alarms:
    """The provider sees it when it attests the account again, the lender at once."""
    server, person = stage.server, stage.person
    good, bad = stage.good_and_bad()
    forged, place = server.fresh(), server.world.place(bad.statement)
    told = {"index": b64url(place), "replaces": b64url(bad.token_id)}
    stage.say(ENTRY_ATTESTATION, "other-bank", forged, **told)
    case = server.case(person, server.strict, holdings=[good])
    raised = stage.parties.lender(server.finish(case))
    person.before.append(bad)
    person.accounts["other-bank"] = replace(bad, token_id=forged)
    server.attest(person, "other-bank")
    raised |= stage.parties.self_check("other-bank")
    server.withdraw(person, "other-bank")
    return raised


@lie(
    "the first attestation of a new account takes the place of a bad one",
    ("provider", "NOT_REPLACED"),
)
def _(stage: Stage) -> Alarms:
    """Nobody else can tell the two accounts of one borrower and provider apart."""
    server, person = stage.server, stage.person
    server.withdraw(person, "bank")
    server.withdraw(person, "other-bank")
    bad = server.attest(person, "bank", FAIR)
    person.heads.pop("bank"), person.accounts.pop("bank")
    good = server.attest(person, "bank", GOOD, instead=bad)
    raised = stage.parties.lender(
        server.finish(server.case(person, server.strict, holdings=[good]))
    )
    raised |= stage.parties.self_check("bank")
    server.withdraw(person, "bank")
    return raised


# -- rules between entries


@lie("an answer without consent", ("auditor", "ANSWER_WITHOUT_CONSENT"))
def _(stage: Stage) -> Alarms:
    return stage.breaks(stage.say_answer(stage.server.fresh()), "ANSWER_WITHOUT_CONSENT")


@lie("an answer after revocation", ("auditor", "ANSWER_AFTER_REVOCATION"))
def _(stage: Stage) -> Alarms:
    consent = stage.granted()
    stage.say_consent("revoked", consent)
    return stage.breaks(stage.say_answer(consent), "ANSWER_AFTER_REVOCATION")


@lie("an answer while the consent is paused", ("auditor", "ANSWER_WHILE_PAUSED"))
def _(stage: Stage) -> Alarms:
    consent = stage.granted()
    stage.say_consent("paused", consent, document=b64url(bytes(32)))
    return stage.breaks(stage.say_answer(consent), "ANSWER_WHILE_PAUSED")


@lie("an answer beyond the cap", ("auditor", "ANSWER_BEYOND_CAP"))
def _(stage: Stage) -> Alarms:
    consent = stage.granted()
    for _ in range(USES):
        stage.say_answer(consent)
    return stage.breaks(stage.say_answer(consent), "ANSWER_BEYOND_CAP")


@lie("an answer to another lender than the consent's", ("auditor", "ANSWER_OTHER_LENDER"))
def _(stage: Stage) -> Alarms:
    consent = stage.granted()
    stage.say_answer(consent)
    return stage.breaks(stage.say_answer(consent, actor="friend"), "ANSWER_OTHER_LENDER")


@lie("an answer to somebody who is no lender", ("auditor", "WRONG_ACTOR"))
def _(stage: Stage) -> Alarms:
    return stage.breaks(stage.say_answer(stage.granted(), actor="bank"), "WRONG_ACTOR")


@lie("an answer for another purpose than its policy's", ("auditor", "ANSWER_PURPOSE"))
def _(stage: Stage) -> Alarms:
    return stage.breaks(stage.say_answer(stage.granted(), purpose="REVIEW"), "ANSWER_PURPOSE")


@lie("a tier long after the newest root", ("auditor", "ANSWER_WITHOUT_ROOT"))
def _(stage: Stage) -> Alarms:
    stage.server.world.close_epoch()
    stage.server.pass_time(DIRECTORY_AGE_MAX_S + CLOCK_SKEW_S + 1)
    index = stage.say_answer(stage.granted(), outcome="TIER")
    return stage.breaks(index, "ANSWER_WITHOUT_ROOT")


@lie("a consent is granted twice", ("auditor", "GRANTED_TWICE"))
def _(stage: Stage) -> Alarms:
    consent = stage.granted()
    return stage.breaks(stage.say_consent("granted", consent), "GRANTED_TWICE")


@lie("a consent is revoked that was never granted", ("auditor", "CONSENT_UNKNOWN"))
def _(stage: Stage) -> Alarms:
    return stage.breaks(stage.say_consent("revoked", stage.server.fresh()), "CONSENT_UNKNOWN")


@lie("an attestation is accepted twice", ("auditor", "ACCEPTED_TWICE"))
def _(stage: Stage) -> Alarms:
    held, place = stage.attested(), b64url(stage.server.fresh())
    index = stage.say(ENTRY_ATTESTATION, "bank", held.token_id, index=place)
    return stage.breaks(index, "ACCEPTED_TWICE")


@lie("an attestation by one who is no provider", ("auditor", "WRONG_ACTOR"))
def _(stage: Stage) -> Alarms:
    place = b64url(stage.server.fresh())
    return stage.breaks(stage.say(ENTRY_ATTESTATION, "lend", index=place), "WRONG_ACTOR")


@lie("a withdrawal is forged in a provider's name", ("auditor", "WITHDRAWN_UNSIGNED"))
def _(stage: Stage) -> Alarms:
    """The directory loses a bad account, by an entry that looks like the provider's."""
    _, bad = stage.good_and_bad()
    index = stage.server.take_back(bad, signer=signer_of("operator's own"))
    del stage.person.accounts["other-bank"]
    stage.person.before.append(bad)
    stage.server.withdrawn.add(bad.token_id)  # the auditor told the provider
    return stage.breaks(index, "WITHDRAWN_UNSIGNED")


@lie(
    "a provider withdraws another's attestation",
    ("auditor", "WRONG_ACTOR"),
    ("auditor", "NOT_A_MEMBER"),
)
def _(stage: Stage) -> Alarms:
    good, _ = stage.good_and_bad()
    made = stage.server.withdrawal(good, actor="other-bank")
    index = stage.server.log.append(ENTRY_WITHDRAWN, **made)
    stage.differs.add((index, "NOT_A_MEMBER"))
    return stage.breaks(index, "WRONG_ACTOR")


@lie("a version of the registry is skipped", ("auditor", "REGISTRY_VERSION"))
def _(stage: Stage) -> Alarms:
    """It is put in force twice: the log must count by one."""
    newest = stage.server.versions[-1]
    entry = parse_entry(stage.server.log.lines[newest.log_index])
    index = stage.say(entry.kind, entry.actor, entry.object, **entry.fields)
    return stage.breaks(index, "REGISTRY_VERSION")


@lie("an entry of a kind that there is not", ("auditor", "UNKNOWN_KIND"))
def _(stage: Stage) -> Alarms:
    return stage.breaks(stage.say("answer.whispered", "lend"), "UNKNOWN_KIND")


# -- roots of the directory


@lie("a root that covers too little", ("auditor", "ROOT_BEHIND"))
def _(stage: Stage) -> Alarms:
    """All others get their answers from it: what is new stays out."""
    stage.server.world.close_epoch()
    old = stage.root()
    stage.server.attest(stage.person, "bank", FAIR)
    stage.server.pass_time(DIRECTORY_AGE_MAX_S + 1)
    return stage.breaks(stage.say_root(*old), "ROOT_BEHIND")


@lie("a root from before comes back", ("auditor", "ROOT_WENT_BACK"), ("auditor", "ROOT_DIFFERS"))
def _(stage: Stage) -> Alarms:
    old = stage.root()
    stage.server.attest(stage.person, "bank", FAIR)
    stage.server.world.close_epoch()
    index = stage.say_root(*old)
    stage.differs.add((index, "ROOT_DIFFERS"))
    return stage.breaks(index, "ROOT_WENT_BACK")


def differs(stage: Stage) -> int:
    """The next root is wrong."""
    index = stage.server.world.close_epoch()
    stage.differs.add((index, "ROOT_DIFFERS"))
    return index


@lie("a root leaves out a default, and the answer too", ("auditor", "ROOT_DIFFERS"))
def _(stage: Stage) -> Alarms:
    """The lender verifies all of it: only who computes the root anew can know."""
    good, bad = stage.good_and_bad()
    put_back = stage.taken_out(bad)
    bundle = stage.server.finish(
        stage.server.case(stage.person, stage.server.strict, holdings=[good])
    )
    stage.differs.add((bundle.directory.root.log_index, "ROOT_DIFFERS"))
    put_back()
    return stage.parties.lender(bundle)


@lie("a root keeps what was superseded", ("auditor", "ROOT_DIFFERS"))
def _(stage: Stage) -> Alarms:
    old = stage.attested()
    place = stage.server.world.place(old.statement)
    filed = stage.server.world.filed
    before = filed[place]
    stage.server.attest(stage.person, "bank", FAIR)
    after, filed[place] = filed[place], before
    differs(stage)
    filed[place] = after
    return stage.parties.self_check("bank")


@lie("a root keeps what was withdrawn", ("auditor", "ROOT_DIFFERS"))
def _(stage: Stage) -> Alarms:
    held = stage.attested()
    filed, place = stage.server.world.filed, stage.server.world.place(held.statement)
    before = filed[place]
    stage.server.withdraw(stage.person, "bank")
    after, filed[place] = filed[place], before
    differs(stage)
    filed[place] = after
    return set()
