"""The house stands as drawn: every import points down."""


from tests.house.importing import House

IMPURE = frozenset(
    ["asyncio", "grpc", "http", "os", "pathlib", "random", "secrets", "socket", "sqlite3", "subprocess", "threading", "time", "urllib"]
)


def layers(*rooms: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(layer.split()) for layer in rooms)


CLIENT = House(
    package="credproof",
    layers=layers(
        "base v1",
        "log attestation",
        "verification",
        "wire",
        "home",
        "channel standard records",
        "provider lender borrower auditor",
        "cli",
    ),
    forbidden=dict.fromkeys(("base", "log", "attestation", "verification"), IMPURE),
    allowed_names={room: {"credproof.v1": frozenset()} for room in ()},
    strangers=frozenset({"credproof_server"}),
)
