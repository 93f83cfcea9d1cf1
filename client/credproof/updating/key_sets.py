"""Providers' key sets: a bundle lists for a provider what the provider itself has signed.

Who has signed once is held to it from then on: TUF's snapshot never names fewer files than before.
"""

from __future__ import annotations

from collections.abc import Callable

from tuf.api.metadata import Root, Snapshot, Targets
from tuf.ngclient import Updater

from credproof.base.errors import Malformed, VerificationFailed
from credproof.updating.accepted import binds
from credproof.updating.metadata import (
    BUNDLE,
    key_file,
    key_path,
    keys_of,
    provider_of,
    provider_role,
)
from credproof.verification.participant import Participant
from credproof.verification.trust import Trust


def require_plain(targets: Targets) -> None:
    """Targets name the bundle, and leave to each provider its own keys, and nothing else.

    Else what a provider must sign could be said in its place.

    Raises:
        Malformed: `BAD_METADATA`.
    """
    found = targets.delegations
    roles = found.roles or {} if found else {}
    plain = all(
        provider_of(name) and role.paths == [f"{name}/*"] and role.path_hash_prefixes is None
        for name, role in roles.items()
    )
    succinct = found is not None and found.succinct_roles is not None
    if set(targets.targets) != {BUNDLE} or not plain or succinct:
        raise Malformed("BAD_METADATA", "the targets name what no service of ours names")


def require_key_sets(
    updater: Updater,
    targets: Targets,
    snapshot: Snapshot,
    trust: Trust,
    root: Root,
    accept: Callable[[Participant], None],
) -> None:
    """Each provider that has signed a key set must have signed every key that the bundle lists.

    A set that binds nobody, since a root let its provider begin anew, may lack some. `accept`
    holds each key set against the one before.

    Raises:
        VerificationFailed: `DELEGATION_DROPPED`, `OTHER_DELEGATEE`, `KEY_NOT_SIGNED`; as `accept`.
    """
    for name, file in snapshot.meta.items():
        provider = provider_of(name.removesuffix(".json"))
        participant = trust.participants.get(provider) if provider else None
        if participant is not None:
            require_delegated(targets, participant)
            counts = binds(file.version, root, participant.id)
            for key in participant.keys:  # looked up in any case: so the set itself is verified
                found = updater.get_targetinfo(key_path(participant.id, key.public))
                if counts and found != key_file(participant.id, key.public):
                    raise not_signed(participant)
            accept(participant)


def require_delegated(targets: Targets, participant: Participant) -> None:
    """A provider's role must be there, and signed by keys that the bundle lists for it.

    Raises:
        VerificationFailed: `DELEGATION_DROPPED`, `OTHER_DELEGATEE`.
    """
    role = provider_role(participant.id)
    if targets.delegations is None or role not in (targets.delegations.roles or {}):
        message = f"{participant.id} signs its own keys, and is not asked any more"
        raise VerificationFailed("DELEGATION_DROPPED", message)
    if not set(keys_of(targets, role)) <= {key.public for key in participant.keys}:
        message = f"somebody may sign for {participant.id} whose key the bundle does not list"
        raise VerificationFailed("OTHER_DELEGATEE", message)


def not_signed(participant: Participant) -> VerificationFailed:
    message = f"the bundle lists a key for {participant.id} that it did not sign"
    return VerificationFailed("KEY_NOT_SIGNED", message)
