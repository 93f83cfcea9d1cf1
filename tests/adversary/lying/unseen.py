"""What nobody can see: each of these passes all usual checks. `docs/THREATS.md` lists the same."""

from __future__ import annotations

from dataclasses import replace

from credproof.base.encoding import b64url
from credproof.base.limits import DIRECTORY_AGE_MAX_S
from credproof.log.cosignature import with_lines
from credproof.log.note import parse_note
from credproof.verification.answer import ENTRY_ATTESTATION

from tests.adversary.lying.parties import Alarms
from tests.adversary.lying.stage import Stage, Tell
from tests.log.test_witnessed import WITNESSES
from tests.world import FAIR

UNSEEN: dict[str, Tell] = {}


def unseen(name: str):
    """One more lie that nobody catches."""

    def added(tell: Tell) -> Tell:
        assert name not in UNSEEN
        UNSEEN[name] = tell
        return tell

    return added


@unseen("that a borrower has attestations, where a policy only reports completeness")
def _(stage: Stage) -> Alarms:
    stage.attested()
    bundle = stage.server.finish(stage.server.case(stage.person, holdings=[]))
    raised = stage.parties.lender(bundle)
    assert stage.parties.verified(bundle).outcome.kind == "INCOMPLETE"
    return raised


@unseen("that what is attested is not too old to count")
def _(stage: Stage) -> Alarms:
    """Also where all are required: only absence is shown by the directory."""
    stage.attested()
    case = stage.server.case(stage.person, stage.server.strict, holdings=[])
    stale = replace(case.answer.outcome, reasons=("STALE",))
    case.answer, case.directory = replace(case.answer, outcome=stale), None
    return stage.parties.lender(stage.server.finish(case))


@unseen("what came in less than a minute before the answer")
def _(stage: Stage) -> Alarms:
    """An answer may rest on a root that is up to 60 s old."""
    good = stage.attested()
    old = stage.server.world.evidence()
    stage.server.pass_time(DIRECTORY_AGE_MAX_S)
    stage.server.attest(stage.person, "other-bank", FAIR)
    case = stage.server.case(stage.person, stage.server.strict, holdings=[good])
    case.directory = old
    return stage.parties.lender(stage.server.finish(case))


@unseen("when something was handed in")
def _(stage: Stage) -> Alarms:
    """The service logs an attestation an hour after it came, and answers without it until then."""
    good = stage.attested()
    signed = stage.server.about(stage.person).now
    stage.server.pass_time(3600)
    raised = stage.parties.lender(stage.server.finish(stage.server.case(stage.person)))
    assert good.statement.issued_at <= signed
    stage.server.attest(stage.person, "other-bank", FAIR)
    return raised


@unseen("that a consent was revoked or paused by somebody else than the borrower")
def _(stage: Stage) -> Alarms:
    consent = stage.server.grant(stage.person)
    stage.server.log_consent("revoked", consent)
    consent.revoked = True
    return set()


@unseen("that the log names a consent which nobody gave")
def _(stage: Stage) -> Alarms:
    """An answer under it would not verify for a lender who is honest."""
    stage.say_answer(stage.granted())
    return set()


@unseen("that a consent for one answer gave more, by several policies")
def _(stage: Stage) -> Alarms:
    """The log knows the caps of policies, not what the borrower signed."""
    stage.attested()
    world = stage.server.about(stage.person)
    honest = world.terms
    world.terms = lambda **changes: honest(**{**changes, "mode": "once"})
    stage.server.grant(stage.person)
    world.terms = honest
    policies = (stage.server.usual, stage.server.strict)
    return set().union(
        *(stage.parties.lender(stage.server.answer(stage.person, policy)) for policy in policies)
    )


@unseen("an entry in a provider's name for an attestation that it never made")
def _(stage: Stage) -> Alarms:
    """Where it stands, a lender sees one more that is not shown; it can prove no figure."""
    stage.say(ENTRY_ATTESTATION, "bank", index=b64url(stage.server.fresh()))
    return set()


@unseen("another log for one lender, before witnesses have cosigned")
def _(stage: Stage) -> Alarms:
    bundle, _ = stage.forked(stage.answered())
    assert stage.parties.verified(bundle).witnesses.state == "pending"
    return stage.parties.lender(bundle)


@unseen("another log for one lender, where enough witnesses help")
def _(stage: Stage) -> Alarms:
    bundle, story = stage.forked(stage.answered())
    text = parse_note(story.checkpoint()).text
    lines = [witness.cosign(text, stage.server.world.now) for witness in WITNESSES[:2]]
    cosigned = with_lines(story.checkpoint(), lines)
    shown = replace(bundle, checkpoint=cosigned)
    assert stage.parties.verified(shown).witnesses.state == "reached"
    return stage.parties.lender(shown) | stage.parties.refresh(bundle, log=story, cosigned=cosigned)
