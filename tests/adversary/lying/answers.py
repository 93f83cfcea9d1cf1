"""Lies in what a lender is given."""

from __future__ import annotations

from dataclasses import replace

from credproof.base.group import scalar_from
from credproof.base.keys import DatedKey
from credproof.base.limits import ANSWER_AGE_MAX_S, DIRECTORY_AGE_MAX_S
from credproof.log.cosignature import Ed25519Cosigner, with_lines
from credproof.log.note import parse_note
from credproof.verification.consent import verify_consent
from credproof.verification.filing import prove_element
from credproof.verification.participant import NEVER
from credproof.verification.policy import Outcome

from tests.adversary.lying.parties import Alarms
from tests.adversary.lying.stage import Stage, lie
from tests.log.test_witnessed import WITNESSES
from tests.world import FAIR, POLICY, seed_of, signer_of


@lie("an attestation is left out of an answer", ("lender", "partial"))
def _(stage: Stage) -> Alarms:
    good, _ = stage.good_and_bad()
    case = stage.server.case(stage.person, holdings=[good])
    return stage.parties.lender(stage.server.finish(case))


@lie("an attestation is left out where all are required", ("lender", "NOT_COMPLETE"))
def _(stage: Stage) -> Alarms:
    good, _ = stage.good_and_bad()
    case = stage.server.case(stage.person, stage.server.strict, holdings=[good])
    return stage.parties.lender(stage.server.finish(case))


@lie("no attestation is there, where all are required", ("lender", "NOT_ABSENT"))
def _(stage: Stage) -> Alarms:
    stage.attested()
    case = stage.server.case(stage.person, stage.server.strict, holdings=[])
    return stage.parties.lender(stage.server.finish(case))


@lie("no attestation is there, and it is not shown", ("lender", "NO_LOOKUP"))
def _(stage: Stage) -> Alarms:
    stage.attested()
    case = stage.server.case(stage.person, stage.server.strict, holdings=[])
    case.directory = None
    return stage.parties.lender(stage.server.finish(case))


def bent(stage: Stage, **changes: object) -> Alarms:
    """An answer whose directory evidence was changed before it was signed."""
    stage.attested()
    case = stage.server.case(stage.person)
    case.directory = replace(case.directory, **changes)
    return stage.parties.lender(stage.server.finish(case))


@lie("the set that is shown hides a member", ("lender", "OTHER_MEMBERS"))
def _(stage: Stage) -> Alarms:
    good, _ = stage.good_and_bad()
    case = stage.server.case(stage.person, holdings=[good])
    (lookup,) = case.directory.lookups
    lookups = (replace(lookup, members=(good.token_id,)),)
    case.directory = replace(case.directory, lookups=lookups)
    return stage.parties.lender(stage.server.finish(case))


@lie("the place of another borrower is looked up", ("lender", "BAD_DLEQ_PROOF"))
def _(stage: Stage) -> Alarms:
    world = stage.server.about(stage.other)
    sub, secret = world.sub, world.directory_secret
    return bent(stage, output=prove_element(secret, sub, seed_of("vrf", 64)))


@lie("a borrower has a second place in the directory", ("lender", "BAD_DLEQ_PROOF"))
def _(stage: Stage) -> Alarms:
    sub = stage.server.about(stage.person).sub
    second = scalar_from(seed_of("second directory key", 64))
    return bent(stage, output=prove_element(second, sub, seed_of("vrf", 64)))


@lie("an answer shows no lookup", ("lender", "NO_LOOKUP"))
def _(stage: Stage) -> Alarms:
    stage.attested()
    case = stage.server.case(stage.person)
    case.directory = None
    return stage.parties.lender(stage.server.finish(case))


@lie("a root from long before the bad news", ("lender", "STALE_ROOT"))
def _(stage: Stage) -> Alarms:
    good = stage.attested()
    old = stage.server.world.evidence()
    stage.server.attest(stage.person, "other-bank", FAIR)
    stage.server.pass_time(DIRECTORY_AGE_MAX_S + 1)
    case = stage.server.case(stage.person, holdings=[good])
    case.directory = old
    return stage.parties.lender(stage.server.finish(case))


@lie("a root that does not know what is shown", ("lender", "NOT_COVERED"))
def _(stage: Stage) -> Alarms:
    stage.attested()
    old = stage.server.world.evidence()
    stage.server.attest(stage.person, "bank", FAIR)
    case = stage.server.case(stage.person)
    case.directory = old
    return stage.parties.lender(stage.server.finish(case))


@lie("a superseded attestation is shown as current", ("lender", "NOT_CURRENT"))
def _(stage: Stage) -> Alarms:
    old = stage.attested()
    stage.server.attest(stage.person, "bank", FAIR)
    case = stage.server.case(stage.person, holdings=[old])
    return stage.parties.lender(stage.server.finish(case))


@lie("a withdrawn attestation is shown", ("lender", "NOT_CURRENT"))
def _(stage: Stage) -> Alarms:
    old = stage.attested()
    stage.server.withdraw(stage.person, "bank")
    case = stage.server.case(stage.person, holdings=[old])
    return stage.parties.lender(stage.server.finish(case))


@lie("the figures of another borrower", ("lender", "OTHER_SUBJECT"))
def _(stage: Stage) -> Alarms:
    others = stage.server.attest(stage.other, "bank")
    case = stage.server.case(stage.person, holdings=[others])
    return stage.parties.lender(stage.server.finish(case))


@lie("a borrower under a second pseudonym", ("lender", "OTHER_SUBJECT"))
def _(stage: Stage) -> Alarms:
    """All is said of the pseudonym of somebody else; the lender knows whom it asked about."""
    stage.server.attest(stage.other, "bank")
    case = stage.server.case(stage.other)
    asked = stage.server.about(stage.person).transcript
    case.kept = replace(case.kept, transcript=asked)
    return stage.parties.lender(stage.server.finish(case))


@lie("an answer to another question is given again", ("lender", "ANSWER_OTHER_NONCE"))
def _(stage: Stage) -> Alarms:
    before = stage.answered()
    kept = replace(before.kept, nonce=stage.server.fresh())
    return stage.parties.lender(replace(before, kept=kept))


@lie("an old answer", ("lender", "ANSWER_TOO_OLD"))
def _(stage: Stage) -> Alarms:
    return stage.parties.lender(stage.answered(), later=ANSWER_AGE_MAX_S + 1)


@lie("a better tier than is proved", ("lender", "OTHER_OUTCOME"))
def _(stage: Stage) -> Alarms:
    stage.attested()
    stage.server.attest(stage.person, "bank", FAIR)
    case = stage.server.case(stage.person)
    better = Outcome("TIER", "A", ())
    offer = stage.server.usual.tier("A").offer
    case.answer = replace(case.answer, outcome=better, offer=offer)
    return stage.parties.lender(stage.server.finish(case))


@lie("the log says something else of an answer", ("lender", "OTHER_ENTRY"))
def _(stage: Stage) -> Alarms:
    stage.attested()
    case = stage.server.case(stage.person)
    other = replace(case.answer, staff=stage.server.fresh())
    case.entry = {"fields": stage.server.world.entry_fields(other)}
    return stage.parties.lender(stage.server.finish(case))


@lie("an invented consent", ("lender", "NOT_BOUND"))
def _(stage: Stage) -> Alarms:
    stage.attested()
    case = stage.server.case(stage.person)
    invented = stage.server.consent(stage.person, signer=signer_of("operator"))
    stage.server.log_consent("granted", invented)
    case.consent, case.answer = invented.token, replace(case.answer, consent=invented.id)
    return stage.parties.lender(stage.server.finish(case))


@lie("a policy that is not in force", ("lender", "UNKNOWN_POLICY"), ("auditor", "ANSWER_POLICY"))
def _(stage: Stage) -> Alarms:
    stage.attested()
    world = stage.server.world
    world.policies.append(POLICY)
    consent = stage.server.consent(stage.person)
    stage.server.log_consent("granted", consent)
    case = stage.server.case(stage.person)
    ref = verify_consent(consent.token).terms.policies[-1]
    case.consent = consent.token
    case.answer = replace(case.answer, consent=consent.id, policy=ref)
    bundle = stage.server.finish(case)
    world.policies.remove(POLICY)
    stage.breaks(bundle.logged.log_index, "ANSWER_POLICY")
    return stage.parties.lender(bundle)


@lie(
    "a key that a provider never had, and figures signed by it",
    ("lender", "NOT_THE_PINNED_KEY"),
    ("provider", "STRANGE"),
)
def _(stage: Stage) -> Alarms:
    server, world = stage.server, stage.server.world
    server.withdraw(stage.person, "bank")
    server.withdraw(stage.person, "other-bank")
    forger = signer_of("operator's own")
    keys = tuple(DatedKey(key.public, 0, NEVER) for key in (world.bank, forger))
    honest, named = server.signer, world.participant("bank", "provider", world.bank)
    kept = [p for p in world.bundle().participants if p.id != "bank"]
    server.publish(participants=(*kept, replace(named, keys=keys)))
    server.signer = lambda provider: forger if provider == "bank" else honest(provider)
    server.attest(stage.person, "bank")
    bundle = server.answer(stage.person)
    server.signer = honest
    raised = stage.parties.lender(bundle)
    server.take_back(stage.person.accounts.pop("bank"), signer=forger)
    stage.person.heads.pop("bank")
    server.publish()
    stage.strange_keys = True
    return raised | stage.parties.watch()


@lie("an older registry", ("lender", "TRUST_ROLLBACK"))
def _(stage: Stage) -> Alarms:
    stage.server.publish()
    stage.parties.trust()
    versions = stage.server.versions[:-1]
    return stage.parties.adopt(stage.parties.channel(versions=versions))


# -- witnesses


def required(stage: Stage):
    """An answer under a policy that requires witnesses, and its checkpoint's text."""
    stage.attested()
    bundle = stage.server.answer(stage.person, stage.server.witnessed)
    return bundle, parse_note(bundle.checkpoint).text


@lie("a checkpoint that no witness saw", ("lender", "NOT_WITNESSED"))
def _(stage: Stage) -> Alarms:
    return stage.parties.lender(required(stage)[0])


@lie("witnesses of the operator's own", ("lender", "NOT_WITNESSED"))
def _(stage: Stage) -> Alarms:
    bundle, text = required(stage)
    own = [Ed25519Cosigner(w.key.name, seed_of(w.key.name)) for w in WITNESSES]
    lines = [witness.cosign(text, stage.server.world.now) for witness in own]
    return stage.parties.lender(replace(bundle, checkpoint=with_lines(bundle.checkpoint, lines)))


@lie("a cosignature of another checkpoint", ("lender", "BAD_SIGNATURE"))
def _(stage: Stage) -> Alarms:
    bundle, text = required(stage)
    other = text.replace("\n", "\n1", 1)
    lines = [witness.cosign(other, stage.server.world.now) for witness in WITNESSES]
    return stage.parties.lender(replace(bundle, checkpoint=with_lines(bundle.checkpoint, lines)))


@lie("a checkpoint is called witnessed and is not", ("lender", "NOT_WITNESSED"))
def _(stage: Stage) -> Alarms:
    return stage.parties.refresh(stage.answered(), cosigned=stage.server.log.checkpoint())


@lie("another log for one lender", ("lender", "LOG_FORKED"))
def _(stage: Stage) -> Alarms:
    bundle, _ = stage.forked(stage.answered())
    stage.server.witness()
    return stage.parties.lender(bundle) | stage.parties.refresh(bundle)
