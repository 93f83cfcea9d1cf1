"""What to do next about an error: the second line that the command line prints for it.

The message of an error says what is wrong, for SDK and command line alike. Where it does not
also say what a person at the command line does about it, a line stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from credproof.base.errors import (
    NOT_ACTIVE,
    CredproofError,
    DataLoss,
    Internal,
    Unreachable,
    VerificationFailed,
)

_OTHER_FILE: Final = (
    "give the kind of file that this command's --help names, unaltered; get it again if need be"
)
_NEW_CONSENT: Final = "it takes a new consent: credproof lender request, then borrower consent"
_LESS: Final = "ask for less: credproof lender request --days and --data-life"
_NEW_PROOF: Final = (
    "the borrower makes another: credproof borrower prove --provider YOUR-ID -o PROOF"
)
_EVIDENCE: Final = (
    "keep your files as they are (a lender the answer, as an auditor keep audited.json and"
    " newest.checkpoint too), ask the operator why, and auditors what they see"
)
_FORKED: Final = (
    f"{_EVIDENCE}; once that is settled, credproof audit verify --help says how an auditor begins"
    " anew"
)
_SHOWN_WRONG: Final = (
    "do not rely on it: keep this, ask the operator why, and tell an auditor; as a borrower, tell"
    " your provider too"
)
_SUSPENDED: Final = (
    "check that --home is the right one; of a suspended participant the operator says why, and ends"
    " it by credproof participant resume; a provider's key set goes to the operator meanwhile"
    " (credproof participant renew --key-set)"
)
_REFRESH: Final = "credproof lender refresh FILE, a little later; if it stays, ask the operator"
_CUSTODIAN: Final = "ask whether the custodian runs, then run this again: nothing is done twice"
_LIES: Final = (
    "do not go on: ask the operator why, and other participants whether they see the same"
)
_PROVIDER: Final = (
    "do not go on: ask the provider which keys are its; as the provider, sign your new key into"
    " your key set (credproof provider keys sign --add), then the operator lists it by both"
    " (credproof participant renew --key-set); if all your keys are lost, two people let you begin"
    " anew (credproof root draft --begin-anew)"
)
_PINNED: Final = (
    "do not rely on it; ask the provider itself, by telephone say, for its fingerprint: if it has"
    " a new key, credproof lender pin, then ask again"
)
_LOST: Final = "credproof restore DIR --from BACKUP --keys-from KEYS; none is made in its place"
_OPERATOR: Final = "tell the operator, who finds it by credproof check; to ask again does not help"
_FORK: Final = (
    "operators: credproof quorum show tells what was shown, credproof restore leads out; all"
    " others: rely on nothing new of this service, keep what you have, tell operator and auditors"
)
_RESTORE: Final = "credproof check DIR names what is damaged, credproof restore brings it back"
_KEPT: Final = (
    "the log is not in doubt, this file is: audits go by the others and move it aside (.damaged);"
    " see that the disk is sound, and back your home up"
)
EXAMPLE_VKEY: Final = "log.example+d85f6874+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"

NEXT: Final[Mapping[str, str]] = {
    # Files of the wrong kind, or altered.
    **dict.fromkeys(("NOT_A_JWS", "WRONG_TYPE", "BAD_HEADER", "NOT_A_BUNDLE"), _OTHER_FILE),
    **dict.fromkeys(("NOT_JSON", "BAD_MEMBER", "OTHER_CSR"), _OTHER_FILE),
    "BAD_VKEY": f"copy it whole, like {EXAMPLE_VKEY}; credproof quorum show prints a log's,"
    " credproof witness init a witness's",
    "BAD_FILE": "mend the file and run this again: what was done is not done twice",
    "BAD_MAPPING": "mend the mapping: the README shows one under `A provider's first hour`",
    "BAD_HOME": "copy this file, or your home, back from a backup, or enrol anew in another"
    " directory; of timestamp-authorities.json move it away, and name those that you trust again",
    # Names.
    "BAD_SUBJECT_ID": "write ref:NAME (letters, digits, dot, - and _), cn-id:… or uscc:…",
    "UNKNOWN_SCHEMA": "name it as the operator's bundle does, like consumer-revolving/1",
    "UNKNOWN_CLAIM": "name only claims of the schema under `claims` in the mapping",
    "OTHER_ID_SCHEME": "change the scheme of `subject` in the mapping",
    "UNKNOWN_POLICY": "ask the operator which policies are in force; revolving-standing ships",
    "NOT_APPROVED": "operators: let the other one sign the proposal too (credproof policy sign),"
    " then publish it; all others: do not rely on it",
    "VERSION_TAKEN": "raise `version` in the policy's file, and let both operators sign it anew",
    # What the registry allows a lender.
    "LENDER_NOT_LICENSED": "the operator enters a licence: credproof participant licence",
    "PURPOSE_NOT_CERTIFIED": "certify it anew to the operator: credproof participant certify",
    "PURPOSE_NOT_OPEN": "the operator decides what is fair for it: credproof purpose set",
    "PURPOSE_WINDOW_DAYS": "ask under a policy that takes newer data only",
    **dict.fromkeys(("PURPOSE_CONSENT_DAYS", "PURPOSE_DATA_LIFE_DAYS"), _LESS),
    "PURPOSE_ANSWERS_PER_MONTH": "wait for the next calendar month (UTC)",
    "TOO_NARROW": "ask under a policy that was answered before; an answer counts for 401 days",
    "BELOW_NARROWEST": "ask on fewer rungs of it, or promise fewer bands under `narrowest`",
    "ROUTE_NOT_LICENSED": "the operator enters its licence as a bureau: credproof bureau",
    "THROTTLED": "stop, and ask the operator why: it ends by itself, or by credproof participant"
    " unthrottle; asking on does not help",
    # Consents and proofs of possession.
    "BAD_CONSENT": "have it made anew: credproof lender request, then borrower consent",
    "REQUEST_USED": "the lender makes another: credproof lender request",
    "OTHER_NOTICE": "do not agree to this one; the lender makes it anew: credproof lender request",
    "NOT_A_LINK": "put the whole link into quotation marks, from https:// to its end",
    "NO_CONSENT_YET": "run this again: it goes on waiting; or remind the borrower",
    "BAD_URL": "write https://host/path in small letters, or http://localhost:port",
    "CONSENT_USED_UP": _NEW_CONSENT,
    "CONSENT_REVOKED": _NEW_CONSENT,
    "CONSENT_EXPIRED": _NEW_CONSENT,
    "CONSENT_OTHER_POLICY": _NEW_CONSENT,
    "CONSENT_OTHER_SUBJECT": _NEW_CONSENT,
    "CAP_REACHED": "get another consent, or wait for the next day or month: the policy says which",
    "OTHER_PROVIDER": _NEW_PROOF,
    "PROOF_TOO_OLD": f"{_NEW_PROOF} (good for ten minutes)",
    # Who may.
    "NOT_PERMITTED": "check that --home is of the right role and not suspended, and that the"
    " consent is of this borrower, for this lender and policy, and not expired; of a borrower's"
    " key, ask your provider whether it is still bound: provider self-check tells what was lost",
    "NOT_AUTHENTICATED": "use the home that you joined with; if it is lost, enrol anew",
    "KEY_ENDED": "go on in the home with your newest keys; if you asked for no others, ask the"
    " operator who did",
    "KEY_NOT_LISTED": "ask the operator, who may have lost your renewal in a restore: credproof"
    " participant renew, with the same enrolment or, after seven days, another one",
    "ALREADY_ADMITTED": "for new keys of that participant: credproof participant renew; of another"
    " one: enrol under another id",
    "UNKNOWN_PARTICIPANT": "do not agree; ask the operator who this is",
    "UNKNOWN_RELYING_PARTY": "the operator names the page: credproof passkeys DIR RP-ID ORIGIN",
    # The log is not what it was.
    "LOG_FORKED": _FORKED,
    **dict.fromkeys(("LOG_BEHIND", "LOG_SHRANK", "LOG_REPLACED", "TREE_MISMATCH"), _EVIDENCE),
    **dict.fromkeys(("ENTRY_CHANGED", "OTHER_TRUST", "REGISTRY_WITHHELD"), _EVIDENCE),
    **dict.fromkeys(("CHAIN_BROKEN", "SEQ_GAP", "TIME_WENT_BACK", "ENTRIES_MISSING"), _EVIDENCE),
    **dict.fromkeys(("NOT_WITNESSED", "NOT_WITNESSED_YET"), _REFRESH),
    "NOT_DISPROVED": "ask the operator what the service was shown (credproof quorum show), and the"
    " witnesses themselves",
    "ENTRIES_LOST": "keep the file as it is: no witness can cosign it any more; an auditor tells by"
    " credproof audit compare FILE whether its entry was lost, or of a fork; then ask anew",
    "ROOT_BEHIND": "look again in a minute; if it stays, ask the operator why, and tell lenders"
    " that answers may leave out what came since",
    **dict.fromkeys(("ROOT_DIFFERS", "NOT_A_MEMBER", "BAD_ENTRY"), _EVIDENCE),
    # Out of an answer these have the number of a check, and its advice.
    **dict.fromkeys(("OTHER_INDEX", "OTHER_LOOKUPS", "OTHER_MEMBERS", "OTHER_ENTRY"), _SHOWN_WRONG),
    **dict.fromkeys(("BAD_LOOKUP_PROOF", "BAD_INCLUSION_PROOF", "STALE_ROOT"), _SHOWN_WRONG),
    **dict.fromkeys(("NOT_COVERED", "NOT_CURRENT"), _SHOWN_WRONG),
    "HELD_NOT_SHOWN": "keep this, ask the operator why, and tell your provider: what it attested"
    " was logged, and an auditor can read it",
    "TRUST_FORKED": "do not go on: keep seen-bundle-… and other-bundle-… under tuf/: they show"
    " that the root key signed two, ask the operator why, and tell an auditor; after a new origin"
    " of the log the operator runs credproof root extend once more",
    "METADATA_DAMAGED": "in your home: copy it back from a backup; without one delete the folder"
    " tuf/: it begins by the root that it pins, and forgets what it saw; of a service: credproof"
    " restore",
    "TRUST_ROLLBACK": "do not go on: tell the operator that it gives out an old trust bundle",
    "TUF_ROLLBACK": "do not go on: ask the operator why; if it restored the service, whoever signed"
    " what is named here publishes it again: credproof provider keys publish; of targets, credproof"
    " root extend",
    "OTHER_ROOT_KEY": "name the key that signs trust bundles now by --root-key, or put it in the"
    " place of DIR/offline-root/root.key; credproof root status DIR shows its fingerprint",
    **dict.fromkeys(("TUF_MIXED", "TUF_WITHHELD", "TUF_TOO_LONG"), _LIES),
    **dict.fromkeys(("TUF_NOT_BOUND", "BAD_METADATA"), _LIES),
    "TUF_EXPIRED": "check the clock here; the operator sees by credproof root status what must be"
    " signed anew, and credproof serve renews the rest",
    "TUF_VERSION": "begin with what is in force now: credproof root draft, or credproof provider"
    " watch and then provider keys sign; if a thief signed the key set in force, two people let the"
    " provider begin anew (credproof root draft --begin-anew)",
    "NO_TUF": "the operator stops the service and runs credproof root begin DIR; of homes nothing"
    " is needed",
    "SERVICE_TOO_OLD": "the operator installs this version, then runs credproof upgrade and root"
    " begin",
    "NO_TARGETS": "the operator signs them anew: credproof root extend DIR",
    "NO_ONLINE_KEY": "draft the root on this service: credproof root draft DIR --online-key",
    "NO_SUCH_KEY": "credproof root status and credproof provider watch show the keys",
    "STRANGE_KEY": "have the operator suspend you, and tell your lenders; if the key was once"
    " yours, name it by --known: here, or once for all by credproof provider keys sign",
    "KEYS_NOT_CONTINUED": "do not go on: ask the provider which keys are its; as the provider, sign"
    " with a key of the set before; if all are lost, two people let you begin anew (credproof root"
    " draft --begin-anew)",
    "KEY_NOT_KNOWN": "see by credproof provider watch when it was listed, and ask the operator why;"
    " only if it is yours, name it by --known",
    **dict.fromkeys(("KEY_NOT_SIGNED", "DELEGATION_DROPPED", "OTHER_DELEGATEE"), _PROVIDER),
    "TRUST_EXPIRED": "the operator signs it anew while the service runs: credproof root extend",
    # The service and its directory.
    "NO_ANSWER": "check that the service runs and is reached where your home says (address in"
    " participant.json, of a borrower in pass.json); then run this again: nothing is done twice",
    # Custodians.
    **dict.fromkeys(("CUSTODIAN_UNREACHABLE", "CUSTODIAN_TIMEOUT"), _CUSTODIAN),
    **dict.fromkeys(("SHARE_NOT_READ", "QUOTA_DAMAGED"), "then run this again"),
    "TRUST_STALE": "tell who runs the custodian that it does not reach the service",
    "NOT_THE_CUSTODIAN": "do not go on: ask custodian and operator; one that moved enrols anew by"
    " credproof custodian renew",
    "CUSTODIAN_LEFT_OUT": "do not go on: ask the custodian whether it knows of this",
    "OTHER_OPRF_KEY": "run this again: it reads the newest trust bundle",
    "NO_ADDRESS": "end what listens there, or name another address: in the settings (.toml), or"
    " --listen",
    "BAD_CONFIG": "correct credproof.toml; of a directory that init has just made, begin anew in"
    " an empty one",
    **dict.fromkeys(
        ("BAD_RULES", "NO_RULES"),
        "correct the file, or the setting rules under"
        " [misuse] in credproof.toml: credproof rules lint FILE says what it means",
    ),
    "KEY_NOT_OPENED": "put the right key-encryption key into DIR/kek or CREDPROOF_KEK",
    "OUTBOX_DAMAGED": "copy outbox.db back from a backup of your home; see that its disk has room",
    # Unsealing.
    "UNSEAL_NOT_APPROVED": "let another auditor run credproof audit unseals, then approve",
    "SAME_AUDITOR": "another auditor, with a key of its own, runs credproof audit approve",
    "UNSEAL_DECLINED": "credproof audit unseals says by whom; ask anew: credproof audit unseal",
    "UNSEAL_DECIDED": "credproof audit unseals says how; ask anew: credproof audit unseal",
    "AUDITOR_SUSPENDED": "two active auditors begin anew: credproof audit unseal",
    "NO_SUCH_DETAIL": "answer.given has verdicts and answer, consent.granted has consent",
    "UNSEALING_FORGED": "do not act on it: keep the log as it is, and ask the auditor it names",
    "AUDIT_BUSY": "wait until the other credproof audit command has ended",
    "INDEX_DAMAGED": "move audit.db away and keep it; credproof audit verify makes another",
    **dict.fromkeys(("CHECKPOINT_DAMAGED", "AUDITED_DAMAGED"), _KEPT),
    "AUDITED_AHEAD": "nothing was replaced; where the two are of a backup, the log was rewritten:"
    " compare with other auditors (credproof audit compare); else audited.json is damaged: move it"
    " away and keep it",
    "REGISTRY_NOT_KEPT": "credproof audit verify --whole fetches it again",
    "NOTHING_VERIFIED": "credproof audit follow --home HOME",
    "NO_QUORUM": "nothing to do, unless the operator names witnesses: credproof quorum set",
    "IN_USE": "stop the service that runs on it (Ctrl-C, or its process manager), then again",
    "MIRROR_DAMAGED": "export into another directory, and put it in the place of this one: the log"
    " is not in doubt, this copy of it is",
    "BAD_MONTH": "write it like --month 2026-11",
    "OUTBOX_BUSY": "wait until the other credproof provider command has ended",
    **dict.fromkeys(("LOG_DAMAGED", "DATABASE_DAMAGED", "KEY_MISSING", "NO_TRUST"), _RESTORE),
    "DATABASE_MISSING": _LOST,
}
"""What to do, by the reason of the error."""

_OWN: Final[Mapping[str, str]] = {
    "LOG_BEHIND": "refill it: credproof restore DIR --from-export FILE; where nobody has the"
    " entries any more, credproof restore DIR --new-origin NAME",
    "LOG_FORKED": "restore the log that was signed: credproof restore DIR --from BACKUP --keys-from"
    " KEYS, then --from-export FILE",
    "DISPROOF_DAMAGED": "see that the witnesses in the quorum file can be reached, which show it"
    " again, then move DIR/disproof away",
    "HIGH_WATER_DAMAGED": "move DIR/high-water away, then credproof restore DIR --checkpoint FILE"
    " with the newest checkpoint that an auditor has (newest.checkpoint)",
    "ROOT_NOT_READ": "copy root.json back from the main part of a backup",
}
"""What an operator does about the log and the files of one's own service."""


_OWN_FILES: Final = ("METADATA_DAMAGED", "BAD_HOME")
"""What is wrong with files of one's own home."""


def next_step(error: CredproofError) -> str | None:
    """What a person does about it; None when the message says it already."""
    if error.reason in _OWN_FILES:
        return NEXT[error.reason]  # whatever was to be verified is not in doubt
    if error.reason == "NOT_THE_PINNED_KEY":
        return _PINNED  # a check says it, and yet there is an honest way to it
    if error.step is not None and error.reason != "NOT_WITNESSED":
        return f"do not rely on it; docs/PROTOCOL.md says what check {error.step} looks at"
    if isinstance(error, DataLoss) and error.told and error.reason in ("LOG_FORKED", "LOG_BEHIND"):
        return _FORK
    if isinstance(error, DataLoss) and error.told:
        return _OPERATOR  # what the reason says is for whoever has the damaged data
    if isinstance(error, DataLoss) and error.reason in _OWN:
        return _OWN[error.reason]
    if error.message == NOT_ACTIVE:
        return _SUSPENDED
    advice = NEXT.get(error.reason)
    if advice == _LIES and not isinstance(error, VerificationFailed):
        advice = _OTHER_FILE  # no service gave it
    if advice == _LIES and ": " in error.message:
        return None  # an operator's own root, and the message says what it lacks
    if advice == _REFRESH and ": " in error.message:
        return None  # no answer was kept that could be refreshed
    if advice in (_EVIDENCE, _FORKED) and not isinstance(error, VerificationFailed):
        advice = None  # not an auditor's finding: an account's chain, or the service's own log
    return advice or _of_class(error)


def _of_class(error: CredproofError) -> str | None:
    if isinstance(error, Internal):
        return "run this again; if it stays, report it as SECURITY.md or CONTRIBUTING.md say"
    if ": " in error.message:
        return None  # what to do stands behind the colon, and better than a class can know
    if isinstance(error, Unreachable):
        return "run this again: nothing is done twice"
    if isinstance(error, VerificationFailed):
        return "do not rely on it; get it again from whoever made it, or ask the operator why"
    if isinstance(error, DataLoss):
        return "stop, and ask the operator: credproof check says what is damaged"
    return None
