"""The trust bundle in force: what may replace it, and what publishing it again does."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from credproof.base.errors import Conflict
from credproof_server import admission
from credproof_server.service.registry import Registry
from credproof_server.storage import repository


def entries(core) -> list[dict]:
    with core.engine.connect() as connection:
        return [json.loads(line) for line in repository.lines(connection, 0, 1000)]


def changed(deployment, core, **changes: object):
    """A bundle of the root that changes the one in force."""
    bundle = replace(core.trust.bundle, **changes)
    root = deployment.directory.root_signer()
    return admission.signed_bundle(root, bundle, core.trust.documents)


async def publish(deployment, core, trust) -> int:
    """With the targets that name it."""
    root = deployment.directory.root_signer()
    targets = admission.targets_for(trust, lambda role: core.distribution.get(role, 0), root)
    return await Registry(core).publish("operator", trust.token, trust.documents, targets)


async def test_publishing_the_bundle_in_force_again_gives_its_log_index_and_changes_nothing(
    deployment, core
):
    """A reply can be lost: whoever tries again must not be told that it failed."""
    fresh = changed(deployment, core, version=core.trust.bundle.version + 1)
    index = await publish(deployment, core, fresh)
    before = len(entries(core))

    assert index == await publish(deployment, core, fresh)
    assert before == len(entries(core))


@pytest.mark.parametrize("step", [-1, 0, 2])
async def test_a_bundle_that_is_not_the_next_one_is_refused(deployment, core, step):
    bundle = core.trust.bundle
    other = changed(
        deployment, core, version=bundle.version + step, expires_at=bundle.expires_at - 1
    )
    with pytest.raises(Conflict) as caught:
        await publish(deployment, core, other)
    assert caught.value.reason == "TRUST_VERSION"
