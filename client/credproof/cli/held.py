"""What a borrower reads of what is held about the borrower, in Chinese and English."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from credproof.base.errors import CredproofError, DataLoss, VerificationFailed
from credproof.verification.held import Held, NotShown

WORDS: Final = {
    "en": {
        "none": "nothing",
        "held": "{provider}, data of {as_of}, log entry {log_index}",
        "others": "{others} more, by providers for whom this key does not count: ask the provider"
        " whom you do not see here to bind your key",
        "total": "Verified: {count} shown, {others} not shown; nothing else is current about you,"
        " as of log entry {root}.",
    },
    "zh": {
        "none": "没有",
        "held": "{provider}，数据截至 {as_of}，日志第 {log_index} 条",
        "others": "另有 {others} 条，来自未认可此密钥的机构：请未在此列出的机构绑定您的密钥",
        "total": "已核实：显示 {count} 条，未显示 {others} 条；"
        "截至日志第 {root} 条，再无关于您的当前记录。",
    },
}
_ASK: Final = "不要信赖此结果；请保留此提示，询问运营者，并告知向服务提供您记录的机构"
_FAULTS: Final = {
    "HELD_NOT_SHOWN": (
        "服务未完整出示其持有的关于您的“{title}”记录，表明有记录丢失、损坏或被隐瞒",
        _ASK,
    ),
    "NOT_PERMITTED": (
        "服务称目前没有机构认可此密钥",
        "请询问您的机构此密钥是否仍然有效；机构可以核对服务是否丢失了其记录",
    ),
}
"""What went wrong, and what to do, in Chinese; English is as for any other error."""
_NOT_VERIFIED: Final = ("服务出示的内容未通过核实", _ASK)


def held_lines(found: Sequence[Held], language: str) -> Iterator[str]:
    """What is current about a borrower, line by line."""
    words = WORDS[language]
    for held in found:
        yield f"{held.schema.title[language]} ({held.schema.id})"
        for item in held.attestations:
            told = {"provider": item.provider, "as_of": item.as_of, "log_index": item.log_index}
            yield "  " + words["held"].format(**told)
        if held.others:
            yield "  " + words["others"].format(others=held.others)
        elif not held.attestations:
            yield "  " + words["none"]
    count, others = sum(len(h.attestations) for h in found), sum(h.others for h in found)
    oldest = min((held.root.log_index for held in found), default=0)
    yield words["total"].format(count=count, others=others, root=oldest)


def fault_lines(error: CredproofError, language: str) -> Sequence[str]:
    """What went wrong with the check, and what to do; nothing where the error says it best."""
    of_service = isinstance(error, VerificationFailed | DataLoss)
    told = _FAULTS.get(error.reason, _NOT_VERIFIED if of_service else None)
    if language != "zh" or told is None:
        return ()
    title = error.schema.title[language] if isinstance(error, NotShown) else ""
    what = told[0].format(title=title)
    return f"错误：{what}（{error.reason}）", f"下一步：{told[1]}"


def held_report(found: Sequence[Held]) -> dict[str, Any]:
    """The same as JSON for machines; times are whole seconds."""
    return {"valid": True, "schemas": [_schema(held) for held in found]}


def _schema(held: Held) -> dict[str, Any]:
    return {
        "schema": held.schema.id,
        "attestations": [
            {
                "provider": item.provider,
                "as_of": item.as_of.isoformat(),
                "expires_at": item.expires_at,
                "log_index": item.log_index,
            }
            for item in held.attestations
        ],
        "others": held.others,
        "root": {
            "log_index": held.root.log_index,
            "time": held.root.time,
            "root": held.root.root.hex(),
        },
    }
