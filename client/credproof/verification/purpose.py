"""Purposes with their caps: what a lender may do for a purpose, whatever a policy allows.

After the fair-use templates of India's account aggregators (Sahamati): one template per
(lender | any, purpose), and the specific one wins. Format: `docs/PROTOCOL.md`, "Trust bundle".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from credproof.base.encoding import Json
from credproof.base.errors import Malformed
from credproof.base.members import Members
from credproof.verification.policy import PURPOSES

ANY: Final = "any"


@dataclass(frozen=True, slots=True)
class Template:
    """What is fair for a purpose.

    At most `answers_per_month` answers about one borrower in a calendar month (UTC), kept for at
    most `data_life_days`, over attestations at most `window_days` old, under consents of at most
    `consent_days`. `lender` is one lender's id, or `any`.
    """

    lender: str
    purpose: str
    answers_per_month: int
    data_life_days: int
    window_days: int
    consent_days: int

    def to_json(self) -> dict[str, Json]:
        return {
            "answers_per_month": self.answers_per_month,
            "consent_days": self.consent_days,
            "data_life_days": self.data_life_days,
            "lender": self.lender,
            "purpose": self.purpose,
            "window_days": self.window_days,
        }


def template_for(templates: Sequence[Template], lender: str, purpose: str) -> Template | None:
    """The template that binds this lender for this purpose: its own, else the one for any."""
    found = {item.lender: item for item in templates if item.purpose == purpose}
    return found.get(lender) or found.get(ANY)


def parse_template(value: Any) -> Template:
    """A template, taken apart strictly.

    Raises:
        Malformed: `BAD_MEMBER`, `BAD_TRUST`.
    """
    members = Members(value, "purpose")
    template = Template(
        lender=members.take("lender", str),
        purpose=members.take("purpose", str),
        answers_per_month=members.take("answers_per_month", int),
        data_life_days=members.take("data_life_days", int),
        window_days=members.take("window_days", int),
        consent_days=members.take("consent_days", int),
    )
    members.finish()
    days = (template.data_life_days, template.window_days, template.consent_days)
    if template.purpose not in PURPOSES or min(template.answers_per_month, *days) < 1:
        raise Malformed("BAD_TRUST", "a purpose is unknown, or allows nothing")
    return template
